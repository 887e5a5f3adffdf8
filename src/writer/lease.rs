//! Who should own a partition: the same answer on every pod that sees the same pods.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::log::Owned;

/// Of these partitions, those that a pod should take or keep, when these pods live; and of those that it owns, the ones
/// that it should give back.
pub(crate) fn shares(
    pod: Uuid,
    partitions: impl Iterator<Item = u8>,
    pods: &[Uuid],
    owned: &[Owned],
) -> (Vec<u8>, Vec<u8>) {
    let (mine, others): (Vec<u8>, Vec<u8>) =
        partitions.partition(|partition| rightful(*partition, pods) == Some(pod));
    let surplus = owned.iter().map(|owned| owned.partition).filter(|p| others.contains(p)).collect();
    (mine, surplus)
}

/// The pod whose partition this should be: the one with the highest hash together with it, so that when a pod comes
/// or goes only its own share moves. `None` when there are no pods.
fn rightful(partition: u8, pods: &[Uuid]) -> Option<Uuid> {
    pods.iter().copied().max_by_key(|pod| {
        let hash: [u8; 32] =
            Sha256::new().chain_update(pod.as_bytes()).chain_update([partition]).finalize().into();
        (hash, *pod)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::PARTITIONS;

    #[test]
    fn without_pods_nobody_owns_anything() {
        assert_eq!(rightful(0, &[]), None);
    }

    proptest! {
        #[test]
        fn when_a_pod_goes_only_its_own_partitions_move(
            pods in proptest::collection::hash_set(any::<u128>(), 2..6), order in any::<u64>(),
        ) {
            let mut pods: Vec<Uuid> = pods.into_iter().map(Uuid::from_u128).collect();
            let gone = pods[usize::try_from(order % pods.len() as u64).unwrap()];
            let before: Vec<_> = (0..PARTITIONS).map(|p| rightful(p, &pods).unwrap()).collect();
            // The order in which they are seen does not matter.
            pods.reverse();
            pods.retain(|pod| *pod != gone);
            for (partition, owner) in (0..PARTITIONS).zip(before) {
                let now = rightful(partition, &pods).unwrap();
                prop_assert!(now == owner || owner == gone);
            }
        }

        #[test]
        fn each_pod_has_about_its_share(pods in proptest::collection::hash_set(any::<u128>(), 2..5)) {
            let pods: Vec<Uuid> = pods.into_iter().map(Uuid::from_u128).collect();
            for pod in &pods {
                let share = (0..PARTITIONS).filter(|p| rightful(*p, &pods) == Some(*pod)).count();
                prop_assert!(share > 5, "{share} of 128 for one of {}", pods.len());
            }
        }
    }
}
