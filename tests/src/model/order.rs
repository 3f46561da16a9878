//! Where each fact stands in the effective order: the later of its own place and just after
//! whatever it refers to. Knows nothing of arrival or of what facts mean.

use std::collections::BTreeMap;

use shared::ids::Capture;

/// (occurred-at, recorded-at, log, seq), as plain numbers.
pub type Place = (i64, i64, u64, u64);

/// The place a fact is moved to, how many references lie between, and its own place.
pub type Key = (Place, u32, Place);

/// The keys of all facts whose references do not run in a circle.
pub fn keys(facts: &BTreeMap<Capture, (Place, Vec<Capture>)>) -> BTreeMap<Capture, Key> {
    let mut found = BTreeMap::new();
    for capture in facts.keys() {
        if let Some(key) = key(*capture, facts, &mut Vec::new()) {
            found.insert(*capture, key);
        }
    }
    found
}

fn key(
    capture: Capture,
    facts: &BTreeMap<Capture, (Place, Vec<Capture>)>,
    on_the_way: &mut Vec<Capture>,
) -> Option<Key> {
    if on_the_way.contains(&capture) {
        return None;
    }
    on_the_way.push(capture);
    let (own, references) = &facts[&capture];
    let mut latest = (*own, 0, *own);
    for reference in references.iter().filter(|reference| facts.contains_key(reference)) {
        let (anchor, depth, _) = key(*reference, facts, on_the_way)?;
        latest = latest.max((anchor, depth + 1, *own));
    }
    on_the_way.pop();
    Some(latest)
}

#[cfg(test)]
mod tests {
    use shared::fact::effective::{EffectiveKey, LogRank, OwnPlace};
    use shared::ids::{DeviceNo, Seq};
    use shared::time::Timestamp;

    use super::*;

    fn capture(counter: u64) -> Capture {
        Capture { device: DeviceNo(1), counter }
    }

    /// The product's key of one fact of a forest.
    fn product_key(counter: u64, facts: &BTreeMap<Capture, (Place, Vec<Capture>)>) -> EffectiveKey {
        let ((occurred, recorded, log, seq), references) = &facts[&capture(counter)];
        let own = EffectiveKey::own(OwnPlace {
            occurred_at: Timestamp(*occurred),
            recorded_at: Timestamp(*recorded),
            log: LogRank(*log),
            seq: Seq(*seq),
        });
        references
            .iter()
            .fold(own, |key, reference| key.after(product_key(reference.counter, facts)))
    }

    #[test]
    fn agrees_with_the_product_on_every_pair() {
        let mut random = crate::random::Random::new(7);
        for _ in 0..200 {
            let mut facts = BTreeMap::new();
            for counter in 0..12u64 {
                let refers = (counter > 0 && random.chance(1, 2)).then(|| random.below(counter));
                let place = (random.between(0, 3), random.between(0, 2), random.below(2), counter);
                facts.insert(capture(counter), (place, refers.map(capture).into_iter().collect()));
            }
            let plain = keys(&facts);
            for (left, right) in (0..12).flat_map(|left| (0..12).map(move |right| (left, right))) {
                assert_eq!(
                    plain[&capture(left)].cmp(&plain[&capture(right)]),
                    product_key(left, &facts).cmp(&product_key(right, &facts)),
                );
            }
        }
    }

    #[test]
    fn a_circle_has_no_place() {
        let mut facts = BTreeMap::new();
        facts.insert(capture(1), ((1, 1, 1, 1), vec![capture(2)]));
        facts.insert(capture(2), ((2, 2, 1, 2), vec![capture(1)]));
        facts.insert(capture(3), ((3, 3, 1, 3), vec![]));
        assert_eq!(keys(&facts).into_keys().collect::<Vec<_>>(), [capture(3)]);
    }
}
