//! Positions of texts in a document.

/// Position of a text in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place<'a> {
    /// Name of the segment or subsegment.
    Name,
    /// Value of the annotation with this key. Numbers are passed as text.
    Annotation(&'a str),
    /// Text or number at any depth under this metadata key.
    Metadata(&'a str),
    /// Key of an annotation, or of an object in the metadata, or a metadata namespace.
    Key,
    /// URL of an HTTP request or of a database.
    Url,
    /// HTTP method.
    Method,
    /// The user who sent the request, on a segment.
    User,
    /// Query without literals, or type or user of the database.
    Sql,
    /// Value of the fact with this key in the `aws` block, or `resource_arn` of a segment.
    Aws(&'a str),
    /// Message, type or stack of an exception.
    Cause,
}
