// Continues a trace with the X-Ray SDK, and prints the sampling rule that decided.
//
// The SDK fetches the central rules from the daemon's TCP port. This script waits for them, because
// the SDK samples by its local rules until then. It ends when its caller kills it.
const [traceId, parentId] = process.argv.slice(1);
const xray = require('aws-xray-sdk-core');
const rules = require('aws-xray-sdk-core/dist/lib/middleware/sampling/rule_cache');
const sampler = xray.middleware.sampler;

sampler.start();
const wait = setInterval(() => {
  const request = { method: 'GET', urlPath: '/', host: 'shop', serviceName: 'node-api' };
  if (!rules.getMatchedRule(request, Math.floor(Date.now() / 1000))) return;
  clearInterval(wait);
  const rule = sampler.shouldSample(request);
  const segment = new xray.Segment('node-api', traceId, parentId);
  segment.setMatchedSamplingRule(rule);
  const subsegment = segment.addNewSubsegment('work');
  subsegment.addAnnotation('order_id', 'A-1003');
  subsegment.close();
  segment.close();
  console.log(rule);
}, 10);
