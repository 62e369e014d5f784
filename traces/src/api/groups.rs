//! The operations on groups, which are named filter expressions.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Empty, Page};
use super::context::Context;
use super::error::ApiError;
use crate::filter::{self, Expression};
use crate::store::Store;

/// The part of a group's ARN before its name.
const ARN: &str = "arn:aws:xray:us-east-1:000000000000:group/";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Group {
    group_name: String,
    #[serde(rename = "GroupARN")]
    group_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_expression: Option<String>,
    insights_configuration: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GroupRequest {
    group_name: Option<String>,
    #[serde(rename = "GroupARN")]
    group_arn: Option<String>,
    filter_expression: Option<String>,
    insights_configuration: Option<Value>,
}

impl GroupRequest {
    /// Returns the name of the group, from its name or its ARN.
    fn name(&self) -> Result<&str, ApiError> {
        name(self.group_name.as_deref(), self.group_arn.as_deref())
    }

    fn check_filter(&self) -> Result<(), ApiError> {
        match &self.filter_expression {
            Some(text) => check_filter(text),
            None => Ok(()),
        }
    }
}

/// Returns the name of a group that a request gives by name or by ARN.
pub(super) fn name<'a>(name: Option<&'a str>, arn: Option<&'a str>) -> Result<&'a str, ApiError> {
    let name = name.or_else(|| arn.map(|arn| arn.rsplit_once('/').map_or(arn, |(_, name)| name)));
    match name {
        Some(name) if (1..=32).contains(&name.chars().count()) => Ok(name),
        Some(_) => Err(ApiError::invalid("GroupName has 1 to 32 characters")),
        None => Err(ApiError::invalid(
            "GroupName and GroupARN are missing, expected one of them",
        )),
    }
}

fn check_filter(text: &str) -> Result<(), ApiError> {
    parse(text).map(drop)
}

fn parse(text: &str) -> Result<Expression, ApiError> {
    filter::parse(text)
        .map_err(|error| ApiError::invalid(format!("Invalid filter expression: {error}")))
}

fn missing(name: &str) -> ApiError {
    ApiError::invalid(format!(
        "no group is named {name:?}; GetGroups lists the groups"
    ))
}

fn read(text: &str) -> Result<Group, ApiError> {
    serde_json::from_str(text)
        .map_err(|error| ApiError::internal(format!("a stored group is damaged: {error}")))
}

fn write(group: &Group) -> Option<String> {
    serde_json::to_string(group).ok()
}

/// Creates a group.
pub(super) fn create_group(
    Context { store, .. }: &Context,
    request: GroupRequest,
) -> Result<Value, ApiError> {
    let name = request.name()?;
    request.check_filter()?;
    let insights = json!({ "InsightsEnabled": false, "NotificationsEnabled": false });
    let group = Group {
        group_name: name.to_owned(),
        group_arn: format!("{ARN}{name}"),
        filter_expression: request.filter_expression.clone(),
        insights_configuration: request.insights_configuration.clone().unwrap_or(insights),
    };
    let (former, _) = store.change_group(name, |former| {
        former.map(str::to_owned).or_else(|| write(&group))
    })?;
    if former.is_some() {
        return Err(ApiError::invalid(format!("a group named {name:?} exists")));
    }
    Ok(json!({ "Group": group }))
}

/// Changes the given members of a group.
pub(super) fn update_group(
    Context { store, .. }: &Context,
    request: GroupRequest,
) -> Result<Value, ApiError> {
    let name = request.name()?;
    request.check_filter()?;
    let (_, new) = store.change_group(name, |former| {
        let mut group = read(former?).ok()?;
        if let Some(filter) = &request.filter_expression {
            group.filter_expression = Some(filter.clone());
        }
        if let Some(insights) = &request.insights_configuration {
            group.insights_configuration = insights.clone();
        }
        write(&group)
    })?;
    let new = new.ok_or_else(|| missing(name))?;
    Ok(json!({ "Group": read(&new)? }))
}

/// Deletes a group.
pub(super) fn delete_group(
    Context { store, .. }: &Context,
    request: GroupRequest,
) -> Result<Empty, ApiError> {
    let name = request.name()?;
    let (former, _) = store.change_group(name, |_| None)?;
    former.map(|_| Empty {}).ok_or_else(|| missing(name))
}

/// Returns one group.
pub(super) fn get_group(
    Context { store, .. }: &Context,
    request: GroupRequest,
) -> Result<Value, ApiError> {
    let name = request.name()?;
    Ok(json!({ "Group": find(store, name)? }))
}

/// Returns all groups.
pub(super) fn get_groups(Context { store, .. }: &Context, _: Page) -> Result<Value, ApiError> {
    let groups: Result<Vec<_>, _> = store.groups()?.iter().map(|text| read(text)).collect();
    Ok(json!({ "Groups": groups? }))
}

/// Parses a filter expression and puts the expressions of the groups in it into it. `None` and an
/// empty expression match every trace.
pub(super) fn filter(store: &Store, text: Option<&str>) -> Result<Option<Expression>, ApiError> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    let find = |group: &filter::Group| {
        let name = match group {
            filter::Group::Name(name) => name.as_str(),
            filter::Group::Arn(arn) => name(None, Some(arn)).ok()?,
        };
        filter_of(store, name).ok()
    };
    let expression = parse(text)?
        .with_groups(&find)
        .map_err(|group| match group {
            filter::Group::Name(name) | filter::Group::Arn(name) => missing(&name),
        })?;
    Ok(Some(expression))
}

/// Returns the filter expression of a group.
pub(super) fn filter_of(store: &Store, name: &str) -> Result<Expression, ApiError> {
    // All traces, which are the content of the group that every account has.
    let all = || Expression::And(Vec::new());
    if name == "Default" {
        return Ok(all());
    }
    match find(store, name)?.filter_expression {
        Some(text) if !text.trim().is_empty() => parse(&text),
        _ => Ok(all()),
    }
}

fn find(store: &Store, name: &str) -> Result<Group, ApiError> {
    for text in store.groups()? {
        let group = read(&text)?;
        if group.group_name == name {
            return Ok(group);
        }
    }
    Err(missing(name))
}
