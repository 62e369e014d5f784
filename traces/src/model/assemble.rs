//! Putting documents together: one node for each id, and its parent.

use std::collections::HashMap;

use serde_json::Value;

use super::document::Document;
use super::finding::{Finding, Rule};
use super::node::{Kind, Node};

/// The last second of the year 9999.
const LATEST: f64 = 253_402_300_799.0;

/// Nodes in order of arrival, with the index of each node's parent. The parents are without cycles.
pub(super) struct Assembled {
    pub(super) nodes: Vec<Node>,
    pub(super) parents: Vec<Option<usize>>,
    pub(super) findings: Vec<Finding>,
}

/// The parent of a node.
enum Parent {
    None,
    /// The node whose document contains this one.
    Around(usize),
    /// The node with the `parent_id` of the document.
    Named,
}

struct Assembly<'a> {
    nodes: Vec<Node>,
    parents: Vec<Parent>,
    by_id: HashMap<String, usize>,
    waiting: Vec<(&'a Value, Kind, Parent)>,
    findings: Vec<Finding>,
}

pub(super) fn assemble<'a>(
    trace_id: &str,
    documents: impl IntoIterator<Item = &'a Document>,
) -> Assembled {
    let mut assembly = Assembly {
        nodes: Vec::new(),
        parents: Vec::new(),
        by_id: HashMap::new(),
        waiting: Vec::new(),
        findings: Vec::new(),
    };
    for document in documents {
        assembly.add(trace_id, document);
    }
    let mut parents = assembly.resolve();
    assembly.cut_cycles(&mut parents);
    Assembled {
        nodes: assembly.nodes,
        parents,
        findings: assembly.findings,
    }
}

impl<'a> Assembly<'a> {
    /// Adds a document and the subsegments in it.
    fn add(&mut self, trace_id: &str, document: &'a Document) {
        if !document.trace_id.eq_ignore_ascii_case(trace_id) {
            let text = format!("its trace is {}", document.trace_id);
            self.report(Rule::ForeignTrace, document.id.clone(), text);
            return;
        }
        let kind = match (&document.body["inferred"], document.is_subsegment) {
            (Value::Bool(true), _) => Kind::Inferred,
            (_, true) => Kind::Subsegment,
            (_, false) => Kind::Segment,
        };
        let parent = match document.parent_id {
            Some(_) => Parent::Named,
            None => Parent::None,
        };
        self.waiting.push((&document.body, kind, parent));
        while let Some((body, kind, parent)) = self.waiting.pop() {
            let index = self.insert(body, kind, parent);
            let inner = body["subsegments"].as_array().into_iter().flatten();
            self.waiting
                .extend(inner.map(|body| (body, Kind::Subsegment, Parent::Around(index))));
        }
    }

    /// Adds a node, unless a finished one has its id. A finished node replaces the fragment that
    /// was in progress.
    fn insert(&mut self, body: &Value, kind: Kind, parent: Parent) -> usize {
        let parent_id = match &parent {
            Parent::None => None,
            Parent::Around(index) => Some(self.nodes[*index].id.clone()),
            Parent::Named => body["parent_id"].as_str().map(str::to_ascii_lowercase),
        };
        let node = Node::read(body, parent_id, kind);
        let known = self.by_id.get(&node.id).copied();
        let Some(known) = known.filter(|_| !node.id.is_empty()) else {
            let index = self.nodes.len();
            self.check_times(&node);
            self.by_id.insert(node.id.clone(), index);
            self.nodes.push(node);
            self.parents.push(parent);
            return index;
        };
        match (self.nodes[known].end, node.end) {
            (None, Some(_)) => {
                self.check_times(&node);
                self.nodes[known] = node;
                self.parents[known] = parent;
            }
            (Some(_), Some(_)) => {
                let text = format!("{:?} was received twice", short(&node.name));
                self.report(Rule::Duplicate, node.id, text);
            }
            (_, None) => {}
        }
        known
    }

    fn check_times(&mut self, node: &Node) {
        let possible = 0.0..=LATEST;
        let text = if !node.document.contains_key("start_time") {
            "start_time is missing"
        } else if node.end.is_some_and(|end| end < node.start) {
            "end_time is before start_time"
        } else if !possible.contains(&node.start)
            || node.end.is_some_and(|end| !possible.contains(&end))
        {
            "a time is before 1970 or after the year 9999"
        } else {
            return;
        };
        self.report(Rule::InvalidTime, node.id.clone(), text.to_owned());
    }

    fn resolve(&mut self) -> Vec<Option<usize>> {
        let mut found = Vec::with_capacity(self.nodes.len());
        for (index, parent) in self.parents.iter().enumerate() {
            let node = &self.nodes[index];
            let parent = match parent {
                Parent::None => None,
                Parent::Around(parent) => Some(*parent),
                Parent::Named => node
                    .parent_id
                    .as_ref()
                    .and_then(|parent| self.by_id.get(parent).copied()),
            };
            if parent.is_none()
                && let Some(missing) = &node.parent_id
            {
                self.findings.push(Finding {
                    rule: Rule::MissingParent,
                    id: node.id.clone(),
                    text: format!("its parent {} was not received", short(missing)),
                });
            }
            found.push(parent);
        }
        found
    }

    /// Removes one parent of each cycle. Every node is visited twice at most.
    fn cut_cycles(&mut self, parents: &mut [Option<usize>]) {
        /// Number of the walk that visited a node first; 0 before.
        const UNSEEN: usize = 0;
        let mut seen = vec![UNSEEN; parents.len()];
        for first in 0..parents.len() {
            let walk = first + 1;
            let mut at = first;
            while seen[at] == UNSEEN {
                seen[at] = walk;
                let Some(parent) = parents[at] else { break };
                if seen[parent] == walk {
                    let node = &self.nodes[at];
                    let text = format!("its parent {} is under it", self.nodes[parent].id);
                    self.findings.push(Finding {
                        rule: Rule::Cycle,
                        id: node.id.clone(),
                        text,
                    });
                    parents[at] = None;
                    break;
                }
                at = parent;
            }
        }
    }

    fn report(&mut self, rule: Rule, id: String, text: String) {
        self.findings.push(Finding { rule, id, text });
    }
}

/// Returns the beginning of a text for a message.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
