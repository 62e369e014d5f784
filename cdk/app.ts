// The layer, two functions, their queue and table, as in template.yaml. docs/deploy.md has the
// commands.

import { join } from "node:path";
import {
  App, CfnOutput, Duration, RemovalPolicy, Stack,
  aws_dynamodb as dynamodb, aws_iam as iam, aws_lambda as lambda,
  aws_logs as logs, aws_sqs as sqs,
} from "aws-cdk-lib";

// This file runs as build/app.js.
const built = join(__dirname, "..", "..", "target");

const app = new App();
const stack = new Stack(app, "Orders");
const architecture = app.node.tryGetContext("architecture") === "arm64"
  ? lambda.Architecture.ARM_64
  : lambda.Architecture.X86_64;

const layer = new lambda.LayerVersion(stack, "Tracestitch", {
  code: lambda.Code.fromAsset(join(built, "layer", `tracestitch-${architecture.name}.zip`)),
  compatibleArchitectures: [architecture],
  compatibleRuntimes: [lambda.Runtime.PROVIDED_AL2023],
  removalPolicy: RemovalPolicy.RETAIN, // for rollbacks
});

const table = new dynamodb.Table(stack, "Table", {
  partitionKey: { name: "orderId", type: dynamodb.AttributeType.STRING },
  billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
  pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
  encryption: dynamodb.TableEncryption.AWS_MANAGED,
  // Deleted with the stack, as are the logs. DynamoDB keeps a backup of a deleted table with
  // point-in-time recovery for 35 days.
  removalPolicy: RemovalPolicy.DESTROY,
});
const encryption = sqs.QueueEncryption.SQS_MANAGED;
const dead = new sqs.Queue(stack, "Dead", { encryption, retentionPeriod: Duration.days(14) });
const queue = new sqs.Queue(stack, "Queue", {
  encryption,
  visibilityTimeout: Duration.seconds(60), // six times the worker's timeout
  // At least 5, as the Lambda guide recommends: throttled invocations count as deliveries.
  deadLetterQueue: { queue: dead, maxReceiveCount: 5 },
});

const tracedFunction = (name: string, environment: Record<string, string>) => {
  const logGroup = new logs.LogGroup(stack, `${name}-logs`, {
    retention: logs.RetentionDays.TWO_WEEKS,
    removalPolicy: RemovalPolicy.DESTROY,
  });
  const role = new iam.Role(stack, `${name}-role`, {
    assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com"),
  });
  logGroup.grantWrite(role);
  // `tracing: ACTIVE` grants only the two X-Ray actions that sending needs.
  return new lambda.Function(stack, name, {
    code: lambda.Code.fromAsset(join(built, "lambda", name, "bootstrap.zip")),
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
  maxConcurrency: 10,
});

new CfnOutput(stack, "QueueUrl", { value: queue.queueUrl });
app.synth();
