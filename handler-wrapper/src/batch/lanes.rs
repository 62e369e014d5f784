//! Order among the items of a batch.

use std::collections::HashMap;

use super::item::Item;

/// Items that are handled one after the other, with their positions in the batch.
pub(super) type Lane<M> = Vec<(usize, M)>;

/// Returns the lanes of a batch, in the order of their first items. A group is one lane, because an
/// item must wait for the earlier ones of its group. Every other item is a lane by itself.
pub(super) fn lanes<M: Item>(messages: Vec<M>) -> Vec<Lane<M>> {
    let mut lanes: Vec<Lane<M>> = Vec::with_capacity(messages.len());
    let mut groups: HashMap<String, usize> = HashMap::new();
    for (place, message) in messages.into_iter().enumerate() {
        match message.group().map(str::to_owned) {
            Some(group) => {
                let lane = *groups.entry(group).or_insert_with(|| {
                    lanes.push(Vec::new());
                    lanes.len() - 1
                });
                lanes[lane].push((place, message));
            }
            None => lanes.push(vec![(place, message)]),
        }
    }
    lanes
}

#[cfg(all(test, feature = "sqs"))]
mod tests {
    use aws_lambda_events::sqs::SqsMessage;

    use super::*;

    fn places(queue: &str, groups: &[Option<&str>]) -> Vec<Vec<usize>> {
        of_messages(queue, groups, false)
    }

    /// Returns the lanes of messages whose queue is not known, with sequence numbers.
    fn numbered(groups: &[Option<&str>]) -> Vec<Vec<usize>> {
        of_messages("", groups, true)
    }

    fn of_messages(queue: &str, groups: &[Option<&str>], numbered: bool) -> Vec<Vec<usize>> {
        let message = |group: &Option<&str>| {
            let mut message = SqsMessage::default();
            message.event_source_arn = Some(format!("arn:aws:sqs:eu-west-1:123456789012:{queue}"));
            if let Some(group) = group {
                let group = (*group).to_owned();
                if numbered {
                    let number = "18849496460467696128".to_owned();
                    let attributes = &mut message.attributes;
                    attributes.insert("SequenceNumber".to_owned(), number);
                }
                message
                    .attributes
                    .insert("MessageGroupId".to_owned(), group);
            }
            message
        };
        lanes(groups.iter().map(message).collect())
            .into_iter()
            .map(|lane| lane.into_iter().map(|(place, _)| place).collect())
            .collect()
    }

    #[test]
    fn only_groups_of_fifo_queues_share_a_lane() {
        let groups = [Some("a"), Some("b"), Some("a"), None, Some("b")];
        assert_eq!(
            places("orders.fifo", &groups),
            [vec![0, 2], vec![1, 4], vec![3]]
        );
        assert_eq!(places("orders", &groups).len(), 5, "a fair standard queue");
        assert_eq!(numbered(&groups), [vec![0, 2], vec![1, 4], vec![3]]);
        let nameless = [Some(""), None, Some("")];
        assert_eq!(places("orders.fifo", &nameless), [vec![0, 2], vec![1]]);
        assert!(places("orders", &[]).is_empty());
    }
}
