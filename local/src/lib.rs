//! Lambda functions, an SQS queue, DynamoDB, an X-Ray daemon and a trace viewer on one machine,
//! without an AWS account.
//!
//! | part | what it is |
//! |---|---|
//! | [`daemon`] | takes trace documents over UDP and refuses what X-Ray would |
//! | [`tree`] | a trace as a tree, and as text |
//! | [`emulator`] | Lambda: a function and its extensions as processes |
//! | [`sqs`], [`sns`], [`table`] | endpoints for the AWS SDKs |
//! | [`event_source`], [`api_gateway`] | what invokes a function: a queue, HTTP requests |
//! | [`view`] | the traces in a browser |
//! | [`demo`] | all of it at once, with the example functions |
//! | [`own`] | a function of yours |

pub mod api_gateway;
pub mod check;
mod client;
pub mod daemon;
pub mod demo;
pub mod emulator;
pub mod event_source;
pub mod own;
mod server;
pub mod sns;
pub mod sqs;
pub mod store;
pub mod table;
pub mod target;
pub mod tree;
pub mod view;
