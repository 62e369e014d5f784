//! Circles in a graph.

use std::collections::{BTreeMap, BTreeSet};

/// Returns the groups of nodes that reach each other, each of two or more, in order.
pub(crate) fn circles<N: Copy + Ord>(edges: impl IntoIterator<Item = (N, N)>) -> Vec<BTreeSet<N>> {
    let mut next: BTreeMap<N, BTreeSet<N>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(from).or_default().insert(to);
    }
    let reached: BTreeMap<N, BTreeSet<N>> = next
        .keys()
        .map(|&node| (node, reach(&next, node)))
        .collect();
    let mut circles = BTreeSet::new();
    for (node, reached_by_node) in &reached {
        let back = |other: &&N| reached.get(other).is_some_and(|back| back.contains(node));
        let circle: BTreeSet<N> = reached_by_node.iter().filter(back).copied().collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// Returns the nodes to which a way leads from `start`.
pub(crate) fn reach<N: Copy + Ord>(next: &BTreeMap<N, BTreeSet<N>>, start: N) -> BTreeSet<N> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        for &other in next.get(&node).into_iter().flatten() {
            if reached.insert(other) {
                open.push(other);
            }
        }
    }
    reached
}
