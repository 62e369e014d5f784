//! The AWS account and region of all parts.

/// The account, as in AWS's own examples. The emulator of SQS has no other.
pub const ACCOUNT: &str = "123456789012";
/// The region. The emulator of SQS reads it from the host name, which is an address here, and falls
/// back to this one.
pub const REGION: &str = "us-east-1";
