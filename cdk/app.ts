// The layer, two functions, their queue and table, as in template.yaml.
//
//   cargo layer
//   cargo lambda build --release --bin order-api --bin order-worker
//   cd cdk && npm ci && npm run deploy
//
// `cargo layer tools` installs cargo-lambda, see docs/deploy.md. For arm64: `cargo lambda build
// --arm64`, and `npm run deploy -- -c architecture=arm64`.

import { join } from "node:path";
import {
  App, CfnOutput, Duration, RemovalPolicy, Stack,
  aws_dynamodb as dynamodb, aws_iam as iam, aws_lambda as lambda,
  aws_logs as logs, aws_sqs as sqs,
} from "aws-cdk-lib";

// This file runs as build/app.js.
const here = join(__dirname, "..");
const built = join(here, "..", "target");

const app = new App({ outdir: join(here, "cdk.out") });
const stack = new Stack(app, "Orders");
const architecture = app.node.tryGetContext("architecture") === "arm64"
  ? lambda.Architecture.ARM_64
  : lambda.Architecture.X86_64;

const layer = new lambda.LayerVersion(stack, "Tracestitch", {
  code: lambda.Code.fromAsset(join(built, "layer", `tracestitch-${architecture.name}.zip`)),
  compatibleArchitectures: [architecture],
  compatibleRuntimes: [lambda.Runtime.PROVIDED_AL2023, lambda.Runtime.PROVIDED_AL2],
  removalPolicy: RemovalPolicy.RETAIN, // for rollbacks
});

const table = new dynamodb.Table(stack, "Table", {
  partitionKey: { name: "orderId", type: dynamodb.AttributeType.STRING },
  billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
  pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
  encryption: dynamodb.TableEncryption.AWS_MANAGED,
});
const encryption = sqs.QueueEncryption.SQS_MANAGED;
const dead = new sqs.Queue(stack, "Dead", { encryption, retentionPeriod: Duration.days(14) });
const queue = new sqs.Queue(stack, "Queue", {
  encryption,
  visibilityTimeout: Duration.seconds(60), // six times the worker's timeout
  deadLetterQueue: { queue: dead, maxReceiveCount: 3 },
});

const tracedFunction = (name: string, environment: Record<string, string>) => {
  const logGroup = new logs.LogGroup(stack, `${name}-logs`, {
    retention: logs.RetentionDays.TWO_WEEKS,
  });
  const role = new iam.Role(stack, `${name}-role`, {
    assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com"),
  });
  logGroup.grantWrite(role);
  // `tracing: ACTIVE` grants only the two X-Ray actions that sending needs.
  return new lambda.Function(stack, name, {
    code: lambda.Code.fromAsset(join(built, "lambda", name)),
    runtime: lambda.Runtime.PROVIDED_AL2023,
    handler: "bootstrap",
    architecture,
    memorySize: 256,
    timeout: Duration.seconds(10),
    layers: [layer],
    tracing: lambda.Tracing.ACTIVE,
    logGroup,
    role,
    environment: { TABLE_NAME: table.tableName, TRACESTITCH_LOG: "warn", ...environment },
  });
};

const api = tracedFunction("order-api", { QUEUE_URL: queue.queueUrl });
table.grant(api, "dynamodb:PutItem");
queue.grant(api, "sqs:SendMessage");

const worker = tracedFunction("order-worker", {});
table.grant(worker, "dynamodb:GetItem", "dynamodb:UpdateItem");
// `addEventSource` would grant more than an event source mapping needs.
queue.grant(worker, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes");
worker.addEventSourceMapping("Orders", {
  eventSourceArn: queue.queueArn,
  batchSize: 10,
  reportBatchItemFailures: true,
});

new CfnOutput(stack, "QueueUrl", { value: queue.queueUrl });
app.synth();
