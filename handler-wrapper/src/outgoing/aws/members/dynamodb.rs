//! Members of DynamoDB's inputs and outputs, without items, keys and attribute values.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::{
    batch_get_item::{BatchGetItemInput, BatchGetItemOutput},
    batch_write_item::{BatchWriteItemInput, BatchWriteItemOutput},
    create_table::CreateTableInput,
    delete_item::{DeleteItemInput, DeleteItemOutput},
    get_item::{GetItemInput, GetItemOutput},
    list_tables::{ListTablesInput, ListTablesOutput},
    put_item::{PutItemInput, PutItemOutput},
    query::{QueryInput, QueryOutput},
    scan::{ScanInput, ScanOutput},
    update_item::{UpdateItemInput, UpdateItemOutput},
    update_table::UpdateTableInput,
};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, Capacity, ConsumedCapacity, GlobalSecondaryIndex,
    GlobalSecondaryIndexUpdate, ItemCollectionMetrics, LocalSecondaryIndex, ProvisionedThroughput,
    Select,
};
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use serde_json::Value;
use tracestitch_wire::document::Fact;

use super::value::{Member, count, enumerations, keys, members, names_of, object};

enumerations!(Select);

names_of! {
    GetItemInput, PutItemInput, UpdateItemInput, DeleteItemInput, QueryInput, ScanInput,
}

members! {
    fn of_input(Input);
    GetItemInput as input {
        "TableName" => input.table_name.recorded(),
        "ProjectionExpression" => input.projection_expression.recorded(),
        "ConsistentRead" => input.consistent_read.recorded(),
    }
    PutItemInput as input {
        "TableName" => input.table_name.recorded(),
    }
    UpdateItemInput as input {
        "TableName" => input.table_name.recorded(),
    }
    DeleteItemInput as input {
        "TableName" => input.table_name.recorded(),
    }
    QueryInput as input {
        "TableName" => input.table_name.recorded(),
        "IndexName" => input.index_name.recorded(),
        "ProjectionExpression" => input.projection_expression.recorded(),
        "Limit" => input.limit.recorded(),
        "Select" => input.select.recorded(),
        "ConsistentRead" => input.consistent_read.recorded(),
        "ScanIndexForward" => input.scan_index_forward.recorded(),
        "AttributesToGet" => input.attributes_to_get.recorded(),
    }
    ScanInput as input {
        "TableName" => input.table_name.recorded(),
        "IndexName" => input.index_name.recorded(),
        "ProjectionExpression" => input.projection_expression.recorded(),
        "Limit" => input.limit.recorded(),
        "Select" => input.select.recorded(),
        "ConsistentRead" => input.consistent_read.recorded(),
        "AttributesToGet" => input.attributes_to_get.recorded(),
        "Segment" => input.segment.recorded(),
        "TotalSegments" => input.total_segments.recorded(),
    }
    BatchGetItemInput as input {
        "RequestItems" => keys(input.request_items.as_ref()?.keys().map(String::as_str)),
    }
    BatchWriteItemInput as input {
        "RequestItems" => keys(input.request_items.as_ref()?.keys().map(String::as_str)),
    }
    ListTablesInput as input {
        "Limit" => input.limit.recorded(),
    }
    CreateTableInput as input {
        "ProvisionedThroughput" => input.provisioned_throughput.recorded(),
        "GlobalSecondaryIndexes" => input.global_secondary_indexes.recorded(),
        "LocalSecondaryIndexes" => input.local_secondary_indexes.recorded(),
    }
    UpdateTableInput as input {
        "ProvisionedThroughput" => input.provisioned_throughput.recorded(),
        "AttributeDefinitions" => input.attribute_definitions.recorded(),
        "GlobalSecondaryIndexUpdates" => input.global_secondary_index_updates.recorded(),
    }
}

members! {
    fn of_output(Output);
    GetItemOutput as output {
        "ConsumedCapacity" => output.consumed_capacity.recorded(),
    }
    QueryOutput as output {
        "ConsumedCapacity" => output.consumed_capacity.recorded(),
        "Count" => output.count.recorded(),
        "ScannedCount" => output.scanned_count.recorded(),
    }
    PutItemOutput as output {
        "ConsumedCapacity" => output.consumed_capacity.recorded(),
        "ItemCollectionMetrics" => output.item_collection_metrics.recorded(),
    }
    UpdateItemOutput as output {
        "ConsumedCapacity" => output.consumed_capacity.recorded(),
        "ItemCollectionMetrics" => output.item_collection_metrics.recorded(),
    }
    DeleteItemOutput as output {
        "ConsumedCapacity" => output.consumed_capacity.recorded(),
        "ItemCollectionMetrics" => output.item_collection_metrics.recorded(),
    }
    ScanOutput as output {
        "ConsumedCapacity" => output.consumed_capacity.recorded(),
        "Count" => output.count.recorded(),
        "ScannedCount" => output.scanned_count.recorded(),
    }
    BatchGetItemOutput as output {
        "ConsumedCapacity" => output.consumed_capacity.recorded(),
    }
    BatchWriteItemOutput as output {
        "ConsumedCapacity" => output.consumed_capacity.recorded(),
        "ItemCollectionMetrics" => by_table(output.item_collection_metrics.as_ref()?),
    }
    ListTablesOutput as output {
        "TableNames" => count(output.table_names.as_deref()),
    }
}

fn by_table(metrics: &HashMap<String, Vec<ItemCollectionMetrics>>) -> Option<Fact<'_>> {
    let tables = metrics.iter();
    let tables = tables
        .filter_map(|(table, metrics)| Some((table.clone(), Value::from(metrics.recorded()?))));
    Some(Fact::Value(Value::Object(tables.collect())))
}

impl Member for ConsumedCapacity {
    fn recorded(&self) -> Option<Fact<'_>> {
        object([
            ("TableName", self.table_name.recorded()),
            ("CapacityUnits", self.capacity_units.recorded()),
            ("ReadCapacityUnits", self.read_capacity_units.recorded()),
            ("WriteCapacityUnits", self.write_capacity_units.recorded()),
            ("Table", self.table.recorded()),
            (
                "LocalSecondaryIndexes",
                by_index(self.local_secondary_indexes.as_ref()),
            ),
            (
                "GlobalSecondaryIndexes",
                by_index(self.global_secondary_indexes.as_ref()),
            ),
        ])
    }
}

fn by_index(indexes: Option<&HashMap<String, Capacity>>) -> Option<Fact<'static>> {
    let indexes = indexes?.iter();
    let indexes = indexes
        .filter_map(|(index, capacity)| Some((index.clone(), Value::from(capacity.recorded()?))));
    Some(Fact::Value(Value::Object(indexes.collect())))
}

/// Capacity consumed by the table or one index (`ReturnConsumedCapacity=INDEXES`).
impl Member for Capacity {
    fn recorded(&self) -> Option<Fact<'_>> {
        object([
            ("CapacityUnits", self.capacity_units.recorded()),
            ("ReadCapacityUnits", self.read_capacity_units.recorded()),
            ("WriteCapacityUnits", self.write_capacity_units.recorded()),
        ])
    }
}

impl Member for ItemCollectionMetrics {
    /// Leaves out the key of the collection, which is data.
    fn recorded(&self) -> Option<Fact<'_>> {
        object([(
            "SizeEstimateRangeGB",
            self.size_estimate_range_gb.recorded(),
        )])
    }
}

impl Member for ProvisionedThroughput {
    fn recorded(&self) -> Option<Fact<'_>> {
        object([
            ("ReadCapacityUnits", self.read_capacity_units.recorded()),
            ("WriteCapacityUnits", self.write_capacity_units.recorded()),
        ])
    }
}

impl Member for GlobalSecondaryIndex {
    fn recorded(&self) -> Option<Fact<'_>> {
        self.index_name.recorded()
    }
}

impl Member for LocalSecondaryIndex {
    fn recorded(&self) -> Option<Fact<'_>> {
        self.index_name.recorded()
    }
}

impl Member for AttributeDefinition {
    fn recorded(&self) -> Option<Fact<'_>> {
        self.attribute_name.recorded()
    }
}

impl Member for GlobalSecondaryIndexUpdate {
    /// The index that is updated, created or deleted.
    fn recorded(&self) -> Option<Fact<'_>> {
        let update = self.update.as_ref().map(|index| &index.index_name);
        let create = self.create.as_ref().map(|index| &index.index_name);
        let delete = self.delete.as_ref().map(|index| &index.index_name);
        update.or(create).or(delete)?.recorded()
    }
}
