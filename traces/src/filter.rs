//! X-Ray filter expressions: parser, syntax tree and evaluation.
