"""Creates a stack from a template in moto, a stand-in for AWS inside this process.

    create_stack.py TEMPLATE [--write FILE] [--parameter NAME=VALUE ..]

A template with SAM's transform is translated first, with the library that CloudFormation itself
uses; --write keeps the result. Exits with 1 if the stack does not reach CREATE_COMPLETE, or if one of
its resources is missing, except those that moto does not know.
"""

import argparse
import json
import logging
import os
import sys
import warnings

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")

import boto3  # noqa: E402
import moto  # noqa: E402
from moto.apigateway.models import RestAPI, apigateway_backends  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

# moto 5.2.5 makes no resources of these types from a template. cfn-lint alone checks them.
UNKNOWN = {
    "AWS::ApiGateway::Stage",
    "AWS::CDK::Metadata",
    "AWS::CloudWatch::Alarm",
    "AWS::SNS::Subscription",
    "AWS::SQS::QueuePolicy",
    "AWS::XRay::Group",
    "AWS::XRay::ResourcePolicy",
    "AWS::XRay::SamplingRule",
}
NAME = "orders"
EMPTY_ZIP = b"PK\x05\x06" + bytes(18)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("template")
    arguments.add_argument("--write")
    arguments.add_argument("--parameter", action="append", default=[])
    arguments = arguments.parse_args()
    with open(arguments.template, encoding="utf-8") as file:
        template = yaml_parse(file.read())
    if "Transform" in template:
        template = translated(template)
        if arguments.write:
            with open(arguments.write, "w", encoding="utf-8") as file:
                json.dump(template, file, indent=1)
    # moto warns of each resource of an unknown type.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    read_the_body_of_an_api()
    with moto.mock_aws():
        create(template, [pair.split("=", 1) for pair in arguments.parameter])


def translated(template):
    """Returns the template as CloudFormation has it after SAM's transform."""
    for resource in template["Resources"].values():
        for key in ("CodeUri", "ContentUri"):
            if key in resource.get("Properties", {}):
                # `sam package` replaces local paths by such addresses.
                resource["Properties"][key] = "s3://code/code.zip"

    class NoManagedPolicies:
        def load(self):
            return {}

    return transform(template, {}, NoManagedPolicies())


def read_the_body_of_an_api():
    """Makes moto create the methods of an API's OpenAPI document, which it ignores in templates."""
    without_methods = RestAPI.create_from_cloudformation_json

    def create(name, definition, account_id, region_name, **others):
        api = without_methods(name, definition, account_id, region_name, **others)
        backend = apigateway_backends[account_id][region_name]
        body = definition["Properties"].get("Body")
        if body:
            backend.put_rest_api(api.id, body, fail_on_warnings=False)
        return api

    RestAPI.create_from_cloudformation_json = create


def create(template, parameters):
    put_code(template)
    client = boto3.client("cloudformation")
    client.create_stack(
        StackName=NAME,
        TemplateBody=json.dumps(template),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    [stack] = client.describe_stacks(StackName=NAME)["Stacks"]
    if stack["StackStatus"] != "CREATE_COMPLETE":
        sys.exit(f"the stack is {stack['StackStatus']}, expected CREATE_COMPLETE")
    made = client.list_stack_resources(StackName=NAME)["StackResourceSummaries"]
    made = {resource["LogicalResourceId"] for resource in made}
    missing = [
        f"{name} ({resource['Type']})"
        for name, resource in template["Resources"].items()
        if name not in made and resource["Type"] not in UNKNOWN and "Condition" not in resource
    ]
    if missing:
        sys.exit(f"moto did not make {', '.join(missing)}")
    print(f"CREATE_COMPLETE: {len(made)} of {len(template['Resources'])} resources")


def put_code(template):
    """Puts an empty zip where the template expects code, and the parameter of `cdk bootstrap`."""
    boto3.client("ssm").put_parameter(
        Name="/cdk-bootstrap/hnb659fds/version", Value="21", Type="String"
    )
    account = boto3.client("sts").get_caller_identity()["Account"]
    store = boto3.client("s3")
    for resource in template["Resources"].values():
        for key in ("Code", "Content"):
            code = resource.get("Properties", {}).get(key)
            if code:
                bucket = code["S3Bucket"]
                if isinstance(bucket, dict):
                    bucket = bucket["Fn::Sub"]
                    bucket = bucket.replace("${AWS::AccountId}", account)
                    bucket = bucket.replace("${AWS::Region}", store.meta.region_name)
                store.create_bucket(Bucket=bucket)
                store.put_object(Bucket=bucket, Key=code["S3Key"], Body=EMPTY_ZIP)


if __name__ == "__main__":
    main()
