//! The rows of DynamoDB.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, CreateGlobalSecondaryIndexAction,
    DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndex, GlobalSecondaryIndexUpdate,
    KeySchemaElement, KeyType, KeysAndAttributes, LocalSecondaryIndex, ProvisionedThroughput,
    PutRequest, ScalarAttributeType, Select, WriteRequest,
};

use serde_json::Value;

use super::{
    super::*,
    row::{Row, row},
};

fn secret() -> AttributeValue {
    AttributeValue::S("s3cr3t".to_owned())
}

fn capacity() -> Value {
    let part = json!({
        "CapacityUnits": 1.5, "ReadCapacityUnits": 0.5, "WriteCapacityUnits": 1.0,
    });
    let mut capacity = part.clone();
    capacity["TableName"] = json!("t");
    capacity["Table"] = part.clone();
    capacity["LocalSecondaryIndexes"] = json!({ "l": part });
    capacity["GlobalSecondaryIndexes"] = json!({ "g": part, "h": part });
    capacity
}

/// Metrics in the response to a write; the key of the item collection is data.
fn metrics() -> Value {
    json!({ "ItemCollectionKey": { "k": { "S": "s3cr3t" } }, "SizeEstimateRangeGB": [0.5, 1.0] })
}

fn items() -> Vec<Row> {
    let written = json!({ "ConsumedCapacity": capacity(), "ItemCollectionMetrics": metrics() });
    let expected = json!({
        "table_name": "t", "consumed_capacity": capacity(),
        "item_collection_metrics": { "SizeEstimateRangeGB": [0.5, 1.0] },
    });
    vec![
        row!(aws_sdk_dynamodb "DynamoDB" "GetItem",
            |dynamodb| dynamodb.get_item().table_name("t").key("k", secret())
            .consistent_read(true).projection_expression("a, b"),
            json!({ "ConsumedCapacity": capacity(), "Item": { "k": { "S": "s3cr3t" } } }),
            { "table_name": "t", "consistent_read": true, "projection_expression": "a, b",
              "consumed_capacity": capacity() }),
        row!(aws_sdk_dynamodb "DynamoDB" "PutItem",
            |dynamodb| dynamodb.put_item().table_name("t").item("k", secret()), written, expected),
        row!(aws_sdk_dynamodb "DynamoDB" "UpdateItem",
            |dynamodb| dynamodb.update_item().table_name("t").key("k", secret())
            .update_expression("SET s3cr3t = :s"), written, expected),
        row!(aws_sdk_dynamodb "DynamoDB" "DeleteItem",
            |dynamodb| dynamodb.delete_item().table_name("t").key("k", secret()), written, expected),
    ]
}

fn searches() -> Vec<Row> {
    vec![
        row!(aws_sdk_dynamodb "DynamoDB" "Query",
            |dynamodb| dynamodb.query().table_name("t").index_name("i").limit(7)
            .select(Select::SpecificAttributes).consistent_read(false)
            .projection_expression("a").scan_index_forward(false).attributes_to_get("b")
            .key_condition_expression("k = :s3cr3t").expression_attribute_values(":s3cr3t", secret()),
            json!({ "Count": 1, "ScannedCount": 2, "ConsumedCapacity": capacity() }),
            { "table_name": "t", "index_name": "i", "limit": 7, "select": "SPECIFIC_ATTRIBUTES",
              "consistent_read": false, "projection_expression": "a", "scan_index_forward": false,
              "attributes_to_get": ["b"], "consumed_capacity": capacity() }),
        row!(aws_sdk_dynamodb "DynamoDB" "Scan",
            |dynamodb| dynamodb.scan().table_name("t").index_name("i").limit(7)
            .select(Select::Count).consistent_read(true).projection_expression("a")
            .attributes_to_get("b").segment(1).total_segments(4)
            .filter_expression("s3cr3t = :s"),
            json!({ "Count": 1, "ScannedCount": 2, "ConsumedCapacity": capacity() }),
            { "table_name": "t", "index_name": "i", "limit": 7, "select": "COUNT",
              "consistent_read": true, "projection_expression": "a", "attributes_to_get": ["b"],
              "segment": 1, "total_segments": 4, "consumed_capacity": capacity(),
              "count": 1, "scanned_count": 2 }),
    ]
}

fn batches() -> Vec<Row> {
    let keys = |key: &str| {
        let key = (key.to_owned(), secret());
        KeysAndAttributes::builder()
            .keys([key].into())
            .build()
            .unwrap()
    };
    let put = PutRequest::builder().item("k", secret()).build().unwrap();
    let writes = vec![WriteRequest::builder().put_request(put).build()];
    vec![
        row!(aws_sdk_dynamodb "DynamoDB" "BatchGetItem",
            |dynamodb| dynamodb.batch_get_item().request_items("t2", keys("a")).request_items("t1", keys("b")),
            json!({ "ConsumedCapacity": [capacity()] }),
            { "table_names": ["t1", "t2"], "consumed_capacity": [capacity()] }),
        row!(aws_sdk_dynamodb "DynamoDB" "BatchWriteItem",
            |dynamodb| dynamodb.batch_write_item().request_items("t", writes),
            json!({ "ConsumedCapacity": [capacity()], "ItemCollectionMetrics": { "t": [metrics()] } }),
            { "table_names": ["t"], "consumed_capacity": [capacity()],
              "item_collection_metrics": { "t": [{ "SizeEstimateRangeGB": [0.5, 1.0] }] } }),
    ]
}

fn tables() -> Vec<Row> {
    let throughput = || {
        let throughput = ProvisionedThroughput::builder().read_capacity_units(5);
        throughput.write_capacity_units(6).build().unwrap()
    };
    let key = || {
        let key = KeySchemaElement::builder().attribute_name("k");
        key.key_type(KeyType::Hash).build().unwrap()
    };
    let attribute = || {
        let attribute = AttributeDefinition::builder().attribute_name("k");
        attribute
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap()
    };
    let global = GlobalSecondaryIndex::builder()
        .index_name("g")
        .key_schema(key());
    let local = LocalSecondaryIndex::builder()
        .index_name("l")
        .key_schema(key());

    let create = CreateGlobalSecondaryIndexAction::builder()
        .index_name("new")
        .key_schema(key());
    let delete = DeleteGlobalSecondaryIndexAction::builder().index_name("old");
    let create = GlobalSecondaryIndexUpdate::builder().create(create.build().unwrap());
    let delete = GlobalSecondaryIndexUpdate::builder().delete(delete.build().unwrap());
    vec![
        row!(aws_sdk_dynamodb "DynamoDB" "CreateTable",
            |dynamodb| dynamodb.create_table().table_name("t").key_schema(key())
            .attribute_definitions(attribute()).provisioned_throughput(throughput())
            .global_secondary_indexes(global.build().unwrap())
            .local_secondary_indexes(local.build().unwrap()),
            "{}",
            { "table_name": "t", "global_secondary_indexes": ["g"], "local_secondary_indexes": ["l"],
              "provisioned_throughput": { "ReadCapacityUnits": 5, "WriteCapacityUnits": 6 } }),
        row!(aws_sdk_dynamodb "DynamoDB" "UpdateTable",
            |dynamodb| dynamodb.update_table().table_name("t").attribute_definitions(attribute())
            .provisioned_throughput(throughput())
            .global_secondary_index_updates(create.build())
            .global_secondary_index_updates(delete.build()),
            "{}",
            { "table_name": "t", "attribute_definitions": ["k"],
              "global_secondary_index_updates": ["new", "old"],
              "provisioned_throughput": { "ReadCapacityUnits": 5, "WriteCapacityUnits": 6 } }),
        row!(aws_sdk_dynamodb "DynamoDB" "DeleteTable",
            |dynamodb| dynamodb.delete_table().table_name("t"), "{}", { "table_name": "t" }),
        row!(aws_sdk_dynamodb "DynamoDB" "DescribeTable",
            |dynamodb| dynamodb.describe_table().table_name("t"), "{}", { "table_name": "t" }),
        row!(aws_sdk_dynamodb "DynamoDB" "ListTables",
            |dynamodb| dynamodb.list_tables().exclusive_start_table_name("t").limit(5),
            json!({ "TableNames": ["u", "v"] }),
            { "exclusive_start_table_name": "t", "limit": 5, "table_count": 2 }),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    [items(), searches(), batches(), tables()]
        .into_iter()
        .flatten()
        .collect()
}
