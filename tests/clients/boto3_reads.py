"""Calls every operation of the API with boto3 and prints "ok"."""
import datetime
import json
import sys

import boto3
from botocore.exceptions import ClientError

document = sys.argv[1]
segment = json.loads(document)
trace_id = segment["trace_id"]
xray = boto3.client("xray")
start = datetime.datetime.fromtimestamp(1478293000, datetime.timezone.utc)
end = datetime.datetime.fromtimestamp(1478294000, datetime.timezone.utc)
period = {"StartTime": start, "EndTime": end}

answer = xray.put_trace_segments(TraceSegmentDocuments=[document, "no JSON"])
assert [it["ErrorCode"] for it in answer["UnprocessedTraceSegments"]] == ["ParseError"], answer
xray.put_telemetry_records(TelemetryRecords=[{"Timestamp": start, "SegmentsSentCount": 1}])

pages = xray.get_paginator("get_trace_summaries").paginate(
    **period, FilterExpression='annotation.order_id = "A-1003" AND duration > 1')
[summary] = [summary for page in pages for summary in page["TraceSummaries"]]
assert summary["Id"] == trace_id, summary
assert summary["Duration"] == 1.25 and summary["HasFault"] and not summary["IsPartial"], summary
assert summary["Http"]["HttpStatus"] == 500, summary
values = {key: values[0]["AnnotationValue"] for key, values in summary["Annotations"].items()}
assert values == {"order_id": {"StringValue": "A-1003"}, "amount": {"NumberValue": 2.5},
                  "gift": {"BooleanValue": True}}, values
assert isinstance(summary["Revision"], int) and summary["EntryPoint"]["Name"] == "shop", summary

answer = xray.batch_get_traces(TraceIds=[trace_id])
[trace] = answer["Traces"]
documents = [json.loads(segment["Document"]) for segment in trace["Segments"]]
assert [it["name"] for it in documents] == ["shop", "DynamoDB"], documents
assert documents[1]["inferred"] and documents[1]["origin"] == "AWS::DynamoDB::Table", documents

for services in [xray.get_service_graph(**period)["Services"],
                 xray.get_trace_graph(TraceIds=[trace_id])["Services"]]:
    by_type = {service["Type"]: service for service in services}
    shop = by_type["AWS::Lambda::Function"]
    assert shop["SummaryStatistics"]["FaultStatistics"]["TotalCount"] == 1, shop
    assert shop["Edges"][0]["ReferenceId"] == by_type["AWS::DynamoDB::Table"]["ReferenceId"]
    assert shop["StartTime"] <= end and "client" in by_type, services
series = xray.get_time_series_service_statistics(**period, EntitySelectorExpression='service("shop")')
assert series["TimeSeriesServiceStatistics"][0]["ServiceSummaryStatistics"]["TotalCount"] == 1

[rule] = xray.get_sampling_rules()["SamplingRuleRecords"]
assert rule["SamplingRule"]["RuleName"] == "Default", rule
targets = xray.get_sampling_targets(SamplingStatisticsDocuments=[{
    "RuleName": "Default", "ClientID": "0" * 24, "Timestamp": start, "RequestCount": 1,
    "SampledCount": 1}])
assert targets["SamplingTargetDocuments"][0]["ReservoirQuota"] > 0, targets
assert xray.get_sampling_statistic_summaries()["SamplingStatisticSummaries"] == []
assert xray.get_encryption_config()["EncryptionConfig"]["Status"] == "ACTIVE"

group = xray.create_group(GroupName="faults", FilterExpression="fault")["Group"]
xray.update_group(GroupARN=group["GroupARN"], FilterExpression="fault OR error")
assert xray.get_group(GroupName="faults")["Group"]["FilterExpression"] == "fault OR error"
assert [it["GroupName"] for it in xray.get_groups()["Groups"]] == ["faults"]
assert xray.get_service_graph(**period, GroupName="faults")["Services"]
xray.delete_group(GroupName="faults")

try:
    xray.get_trace_summaries(**period, FilterExpression="duration > fast")
    raise AssertionError("the invalid expression was accepted")
except xray.exceptions.InvalidRequestException as error:
    assert "position 12" in error.response["Error"]["Message"], error
try:
    xray.get_insight_summaries(**period, States=["ACTIVE"])
    raise AssertionError("an operation that is missing was answered")
except ClientError as error:
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404, error
print("ok")
