"""Continues a trace with the X-Ray SDK, and prints the sampling rule that decided.

The SDK fetches the central rules from the daemon's TCP port. This script waits for them, because
the SDK samples by its local rules until then.
"""
import sys
import time

from aws_xray_sdk.core import xray_recorder

trace_id, parent_id = sys.argv[1:]
xray_recorder.configure(service="python-worker", context_missing="RUNTIME_ERROR")
sampler = xray_recorder.sampler
sampler.start()
deadline = time.monotonic() + 60
while not sampler._cache.rules:
    assert time.monotonic() < deadline, "the SDK did not fetch the central rules"
    time.sleep(0.01)
rule = sampler.should_trace({"method": "GET", "path": "/", "host": "shop"})
segment = xray_recorder.begin_segment("python-worker", traceid=trace_id, parent_id=parent_id,
                                      sampling=1)
segment.set_rule_name(rule)
subsegment = xray_recorder.begin_subsegment("work")
subsegment.put_annotation("order_id", "A-1003")
xray_recorder.end_subsegment()
xray_recorder.end_segment()
print(rule)
