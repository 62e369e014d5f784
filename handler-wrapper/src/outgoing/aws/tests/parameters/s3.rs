//! The rows of S3.

use super::{super::*, row::Row};

/// Value of `member`, in the call and in the document.
fn value(member: &str) -> &'static str {
    match member {
        "copy_source" => "from/there",
        "key" => "a/k",
        "prefix" => "p/",
        "version_id" => "v",
        _ => "orders",
    }
}

/// Rows of a line each: the operation, the members that are recorded beyond the bucket, what else
/// is set in braces, and the body of the answer.
macro_rules! rows {
    ($($operation:ident $method:ident($($member:ident),*) { $($more:tt)* } $body:literal;)*) => {
        vec![$(
            Row {
                service: "S3",
                operation: stringify!($operation),
                answer: Answer::ok($body),
                call: Box::new(|url| Box::pin(async move {
                    let call = s3(&url).$method().bucket(value("bucket_name"));
                    let call = call$(.$member(value(stringify!($member))))*;
                    call$($more)*.send().await.map(drop).unwrap();
                })),
                expected: json!({
                    "bucket_name": value("bucket_name"),
                    $((stringify!($member)): value(stringify!($member)),)*
                }),
            },
        )*]
    };
}

pub(super) fn rows() -> Vec<Row> {
    rows! {
        AbortMultipartUpload abort_multipart_upload(key) { .upload_id("s3cr3t") } "";
        CompleteMultipartUpload complete_multipart_upload(key) { .upload_id("s3cr3t") } "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>";
        CopyObject copy_object(copy_source, key) {} "<CopyObjectResult></CopyObjectResult>";
        CreateBucket create_bucket() {} "";
        CreateMultipartUpload create_multipart_upload(key) {} "<InitiateMultipartUploadResult></InitiateMultipartUploadResult>";
        DeleteBucket delete_bucket() {} "";
        DeleteBucketAnalyticsConfiguration delete_bucket_analytics_configuration() { .id("i") } "";
        DeleteBucketCors delete_bucket_cors() {} "";
        DeleteBucketEncryption delete_bucket_encryption() {} "";
        DeleteBucketInventoryConfiguration delete_bucket_inventory_configuration() { .id("i") } "";
        DeleteBucketLifecycle delete_bucket_lifecycle() {} "";
        DeleteBucketMetricsConfiguration delete_bucket_metrics_configuration() { .id("i") } "";
        DeleteBucketPolicy delete_bucket_policy() {} "";
        DeleteBucketReplication delete_bucket_replication() {} "";
        DeleteBucketTagging delete_bucket_tagging() {} "";
        DeleteBucketWebsite delete_bucket_website() {} "";
        DeleteObject delete_object(key, version_id) {} "";
        DeleteObjectTagging delete_object_tagging(key, version_id) {} "";
        DeleteObjects delete_objects() {} "<DeleteResult></DeleteResult>";
        GetBucketAccelerateConfiguration get_bucket_accelerate_configuration() {} "<AccelerateConfiguration></AccelerateConfiguration>";
        GetBucketAcl get_bucket_acl() {} "<AccessControlPolicy></AccessControlPolicy>";
        GetBucketAnalyticsConfiguration get_bucket_analytics_configuration() { .id("i") } "";
        GetBucketCors get_bucket_cors() {} "<CORSConfiguration></CORSConfiguration>";
        GetBucketEncryption get_bucket_encryption() {} "";
        GetBucketInventoryConfiguration get_bucket_inventory_configuration() { .id("i") } "";
        GetBucketLifecycleConfiguration get_bucket_lifecycle_configuration() {} "<LifecycleConfiguration></LifecycleConfiguration>";
        GetBucketLocation get_bucket_location() {} "<LocationConstraint></LocationConstraint>";
        GetBucketLogging get_bucket_logging() {} "<BucketLoggingStatus></BucketLoggingStatus>";
        GetBucketMetricsConfiguration get_bucket_metrics_configuration() { .id("i") } "";
        GetBucketNotificationConfiguration get_bucket_notification_configuration() {} "<NotificationConfiguration></NotificationConfiguration>";
        GetBucketPolicy get_bucket_policy() {} "s3cr3t";
        GetBucketReplication get_bucket_replication() {} "";
        GetBucketRequestPayment get_bucket_request_payment() {} "<RequestPaymentConfiguration></RequestPaymentConfiguration>";
        GetBucketTagging get_bucket_tagging() {} "<Tagging></Tagging>";
        GetBucketVersioning get_bucket_versioning() {} "<VersioningConfiguration></VersioningConfiguration>";
        GetBucketWebsite get_bucket_website() {} "<WebsiteConfiguration></WebsiteConfiguration>";
        GetObject get_object(key, version_id) {} "s3cr3t";
        GetObjectAcl get_object_acl(key, version_id) {} "<AccessControlPolicy></AccessControlPolicy>";
        GetObjectTagging get_object_tagging(key, version_id) {} "<Tagging></Tagging>";
        GetObjectTorrent get_object_torrent(key) {} "s3cr3t";
        HeadBucket head_bucket() {} "";
        HeadObject head_object(key, version_id) {} "";
        ListBucketAnalyticsConfigurations list_bucket_analytics_configurations() {} "<ListBucketAnalyticsConfigurationResult></ListBucketAnalyticsConfigurationResult>";
        ListBucketInventoryConfigurations list_bucket_inventory_configurations() {} "<ListInventoryConfigurationsResult></ListInventoryConfigurationsResult>";
        ListBucketMetricsConfigurations list_bucket_metrics_configurations() {} "<ListMetricsConfigurationsResult></ListMetricsConfigurationsResult>";
        ListMultipartUploads list_multipart_uploads(prefix) {} "<ListMultipartUploadsResult></ListMultipartUploadsResult>";
        ListObjectVersions list_object_versions(prefix) {} "<ListVersionsResult></ListVersionsResult>";
        ListObjects list_objects(prefix) {} "<ListBucketResult></ListBucketResult>";
        ListObjectsV2 list_objects_v2(prefix) {} "<ListBucketResult></ListBucketResult>";
        ListParts list_parts(key) { .upload_id("s3cr3t") } "<ListPartsResult></ListPartsResult>";
        PutBucketAccelerateConfiguration put_bucket_accelerate_configuration() {} "";
        PutBucketAcl put_bucket_acl() {} "";
        PutBucketAnalyticsConfiguration put_bucket_analytics_configuration() { .id("i") } "";
        PutBucketCors put_bucket_cors() {} "";
        PutBucketEncryption put_bucket_encryption() {} "";
        PutBucketInventoryConfiguration put_bucket_inventory_configuration() { .id("i") } "";
        PutBucketLifecycleConfiguration put_bucket_lifecycle_configuration() {} "";
        PutBucketLogging put_bucket_logging() {} "";
        PutBucketMetricsConfiguration put_bucket_metrics_configuration() { .id("i") } "";
        PutBucketNotificationConfiguration put_bucket_notification_configuration() {} "";
        PutBucketPolicy put_bucket_policy() { .policy("s3cr3t") } "";
        PutBucketReplication put_bucket_replication() {} "";
        PutBucketRequestPayment put_bucket_request_payment() {} "";
        PutBucketTagging put_bucket_tagging() {} "";
        PutBucketVersioning put_bucket_versioning() {} "";
        PutBucketWebsite put_bucket_website() {} "";
        PutObject put_object(key) { .body(b"s3cr3t".to_vec().into()) } "";
        PutObjectAcl put_object_acl(key, version_id) {} "";
        PutObjectTagging put_object_tagging(key, version_id) {} "";
        RestoreObject restore_object(key, version_id) {} "";
        UploadPart upload_part(key) { .upload_id("s3cr3t").part_number(1).body(b"s3cr3t".to_vec().into()) } "";
        UploadPartCopy upload_part_copy(copy_source, key) { .upload_id("s3cr3t").part_number(1) } "<CopyPartResult></CopyPartResult>";
    }
}
