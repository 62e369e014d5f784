# The layer, two functions, their queue and table: template.yaml without the parts that are the same
# in every stack (API, event bus, state machine, alarms). docs/deploy.md has the commands.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.60" # below 6.0; .terraform.lock.hcl has the exact version
    }
  }
}

variable "name" {
  description = "Prefix of all names; each stack of an account needs its own."
  type        = string
  default     = "orders"
  validation {
    # `-order-worker` follows, and the name of a function or role has 64 characters at most.
    condition     = can(regex("^[A-Za-z0-9_-]{1,51}$", var.name))
    error_message = "The name has up to 51 letters, digits, hyphens and underscores."
  }
}

variable "architecture" {
  description = "Processor of the functions."
  type        = string
  default     = "x86_64"
  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture is x86_64 or arm64."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 14
}

locals {
  built = "${path.module}/../target"
  functions = {
    order-api = {
      QUEUE_URL = aws_sqs_queue.orders.url
    }
    order-worker = {}
  }
  allowed = {
    order-api = [
      { Effect = "Allow", Action = ["dynamodb:PutItem"], Resource = aws_dynamodb_table.orders.arn },
      { Effect = "Allow", Action = ["sqs:SendMessage"], Resource = aws_sqs_queue.orders.arn },
    ]
    order-worker = [
      { Effect = "Allow", Action = ["dynamodb:GetItem", "dynamodb:UpdateItem"], Resource = aws_dynamodb_table.orders.arn },
      { Effect = "Allow", Action = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], Resource = aws_sqs_queue.orders.arn },
    ]
  }
}

resource "aws_lambda_layer_version" "tracestitch" {
  layer_name               = "${var.name}-tracestitch-${var.architecture}"
  filename                 = "${local.built}/layer/tracestitch-${var.architecture}.zip"
  source_code_hash         = filebase64sha256("${local.built}/layer/tracestitch-${var.architecture}.zip")
  compatible_architectures = [var.architecture]
  compatible_runtimes      = ["provided.al2023"]
  skip_destroy             = true # for rollbacks
}

resource "aws_lambda_function" "this" {
  for_each         = local.functions
  function_name    = "${var.name}-${each.key}"
  role             = aws_iam_role.this[each.key].arn
  filename         = "${local.built}/lambda/${each.key}/bootstrap.zip"
  source_code_hash = filebase64sha256("${local.built}/lambda/${each.key}/bootstrap.zip")
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  memory_size      = 256
  timeout          = 10
  layers           = [aws_lambda_layer_version.tracestitch.arn]
  depends_on       = [aws_iam_role_policy.this] # the first invocation already needs it

  tracing_config {
    mode = "Active"
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this[each.key].name
  }

  environment {
    variables = merge({
      TABLE_NAME      = aws_dynamodb_table.orders.name
      TRACESTITCH_LOG = "warn"
    }, each.value)
  }
}

resource "aws_lambda_event_source_mapping" "orders" {
  event_source_arn        = aws_sqs_queue.orders.arn
  function_name           = aws_lambda_function.this["order-worker"].arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  depends_on              = [aws_iam_role_policy.this] # Lambda checks that the role may receive

  scaling_config {
    maximum_concurrency = 10
  }
}

resource "aws_sqs_queue" "orders" {
  name                       = var.name
  visibility_timeout_seconds = 60 # six times the worker's timeout
  sqs_managed_sse_enabled    = true
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    # At least 5, as the Lambda guide recommends: throttled invocations count as deliveries.
    maxReceiveCount = 5
  })
}

resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

# Deleted with the stack, as are the logs. DynamoDB keeps a backup of a deleted table with
# point-in-time recovery for 35 days.
resource "aws_dynamodb_table" "orders" {
  name         = var.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "orderId"

  attribute {
    name = "orderId"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each          = local.functions
  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "this" {
  for_each = local.functions
  name     = "${var.name}-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.functions
  name     = "work"
  role     = aws_iam_role.this[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.allowed[each.key], [
      # IAM accepts only `*` as the resource of these two.
      { Effect = "Allow", Action = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], Resource = "*" },
      { Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = "${aws_cloudwatch_log_group.this[each.key].arn}:*" },
    ])
  })
}

output "queue_url" {
  description = "Messages here become orders of order-worker."
  value       = aws_sqs_queue.orders.url
}

output "layer_arn" {
  description = "Layer version for functions of other stacks."
  value       = aws_lambda_layer_version.tracestitch.arn
}
