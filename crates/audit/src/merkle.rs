//! The Merkle tree of RFC 9162, section 2.1: hashing, an incremental frontier, and both kinds of proof.

use crate::Hash;

const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

/// The hash of a leaf whose data is the parts, one after the other.
#[must_use]
pub fn leaf_hash(parts: &[&[u8]]) -> Hash {
    match parts {
        [salt, record] => Hash::of(&[&LEAF, salt, record]),
        parts => {
            let mut all: Vec<&[u8]> = vec![&LEAF];
            all.extend_from_slice(parts);
            Hash::of(&all)
        }
    }
}

#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&NODE, left.as_bytes(), right.as_bytes()])
}

/// The root of a tree without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// The right edge of a growing tree: the roots of its perfect subtrees, largest first. All that is needed to append
/// a leaf and to know the root.
///
/// INVARIANT: there are as many peaks as ones in the binary form of `size`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// A frontier from its parts, if they fit each other.
    #[must_use]
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Frontier> {
        (peaks.len() == size.count_ones() as usize).then_some(Frontier { size, peaks })
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        let mut subtrees = self.size;
        while subtrees & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            subtrees >>= 1;
        }
        self.peaks.push(node);
        self.size += 1;
    }

    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The root over leaf hashes.
#[must_use]
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf);
    }
    frontier.root()
}

/// Shows that leaf `index` is in the tree over `leaves`: the siblings on its way to the root, lowest first.
/// `None` if there is no such leaf.
#[must_use]
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let (left, right) = leaves.split_at_checked(split_point(leaves.len()))?;
    let (mut proof, sibling) = if index < left.len() {
        (inclusion_proof(left, index)?, root_of(right))
    } else {
        (inclusion_proof(right, index - left.len())?, root_of(left))
    };
    proof.push(sibling);
    Some(proof)
}

/// Whether `proof` leads from a leaf to the root of a tree of `size` leaves (RFC 9162, section 2.1.3.2).
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Shows that the tree over the first `old_size` leaves is a prefix of the tree over `leaves`. `None` if it is larger.
#[must_use]
pub fn consistency_proof(leaves: &[Hash], old_size: usize) -> Option<Vec<Hash>> {
    if old_size > leaves.len() {
        return None;
    }
    if old_size == 0 || old_size == leaves.len() {
        return Some(Vec::new());
    }
    subproof(leaves, old_size, true)
}

/// SUBPROOF of RFC 9162, section 2.1.4.1; `whole` says that the verifier knows the root of exactly this subtree.
fn subproof(leaves: &[Hash], old_size: usize, whole: bool) -> Option<Vec<Hash>> {
    if old_size == leaves.len() {
        return Some(if whole { Vec::new() } else { vec![root_of(leaves)] });
    }
    let (left, right) = leaves.split_at_checked(split_point(leaves.len()))?;
    let (mut proof, sibling) = if old_size <= left.len() {
        (subproof(left, old_size, whole)?, root_of(right))
    } else {
        (subproof(right, old_size - left.len(), false)?, root_of(left))
    };
    proof.push(sibling);
    Some(proof)
}

/// Whether `proof` shows that the tree with `new_root` continues the tree with `old_root` (RFC 9162, 2.1.4.2).
#[must_use]
pub fn verify_consistency(old_size: u64, new_size: u64, old_root: &Hash, new_root: &Hash, proof: &[Hash]) -> bool {
    if old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut steps = proof.iter();
    let start = if old_size.is_power_of_two() { Some(old_root) } else { steps.next() };
    let Some(start) = start else { return false };
    let (mut old, mut new) = (*start, *start);
    for sibling in steps {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}

/// The largest power of two below `size`, for `size` of two or more.
fn split_point(size: usize) -> usize {
    size.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&[&n.to_le_bytes()])).collect()
    }

    fn hash(digits: &str) -> Hash {
        Hash::from_hex(digits.as_bytes()).unwrap()
    }

    /// The inputs and roots that the implementations of RFC 6962 share as test vectors.
    #[test]
    fn roots_are_those_of_rfc_6962() {
        let inputs =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut frontier = Frontier::default();
        assert_eq!(frontier.root(), hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
        let mut all = Vec::new();
        for (input, root) in inputs.iter().zip(roots) {
            let leaf = leaf_hash(&[&hex::decode(input).unwrap()]);
            frontier.push(leaf);
            all.push(leaf);
            assert_eq!(frontier.root(), hash(root), "{} leaves", all.len());
            assert_eq!(root_of(&all), hash(root));
        }
        // Proofs that the same vectors publish.
        assert_eq!(
            inclusion_proof(&all, 0).unwrap(),
            [
                hash("96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"),
                hash("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"),
                hash("6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"),
            ]
        );
        assert_eq!(consistency_proof(&all, 1), inclusion_proof(&all, 0));
    }

    #[test]
    fn a_leaf_in_two_parts_is_the_leaf_of_both() {
        assert_eq!(leaf_hash(&[b"salt", b"record"]), leaf_hash(&[b"saltrecord"]));
    }

    proptest! {
        #[test]
        fn inclusion_is_shown_for_the_leaf_and_nothing_else(
            (size, index) in (1..200_usize).prop_flat_map(|size| (Just(size), 0..size)),
            other in 0..200_usize,
        ) {
            let all = leaves(size);
            let root = root_of(&all);
            let proof = inclusion_proof(&all, index).unwrap();
            let show = |leaf: &Hash, index: usize, size: usize, proof: &[Hash]| {
                verify_inclusion(leaf, index as u64, size as u64, proof, &root)
            };
            prop_assert!(show(&all[index], index, size, &proof));
            prop_assert!(!show(&leaf_hash(&[b"x"]), index, size, &proof));
            if other != index {
                prop_assert!(!show(&all[index], other, size, &proof));
            }
            for at in 0..proof.len() {
                let mut bent = proof.clone();
                bent[at] = leaf_hash(&[b"x"]);
                prop_assert!(!show(&all[index], index, size, &bent));
            }
            let mut longer = proof.clone();
            longer.push(root);
            prop_assert!(!show(&all[index], index, size, &longer));
            if let Some((_, shorter)) = proof.split_last() {
                prop_assert!(!show(&all[index], index, size, shorter));
            }
        }

        #[test]
        fn consistency_is_shown_for_a_prefix_and_nothing_else(
            (size, old) in (1..200_usize).prop_flat_map(|size| (Just(size), 0..=size)),
        ) {
            let all = leaves(size);
            let (old_root, new_root) = (root_of(&all[..old]), root_of(&all));
            let proof = consistency_proof(&all, old).unwrap();
            let show = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                verify_consistency(old as u64, size as u64, old_root, new_root, proof)
            };
            prop_assert!(show(&old_root, &new_root, &proof));
            let stranger = leaf_hash(&[b"x"]);
            prop_assert!(!show(&stranger, &new_root, &proof));
            if old > 0 {
                prop_assert!(!show(&old_root, &stranger, &proof));
            }
            for at in 0..proof.len() {
                let mut bent = proof.clone();
                bent[at] = stranger;
                prop_assert!(!show(&old_root, &new_root, &bent));
            }
            let mut longer = proof.clone();
            longer.push(stranger);
            prop_assert!(!show(&old_root, &new_root, &longer));
        }

        #[test]
        fn a_frontier_continues_where_it_was_left(size in 0..100_usize, more in 0..100_usize) {
            let all = leaves(size + more);
            let mut frontier = Frontier::default();
            all[..size].iter().for_each(|leaf| frontier.push(*leaf));
            let mut again = Frontier::from_parts(frontier.size(), frontier.peaks().to_vec()).unwrap();
            all[size..].iter().for_each(|leaf| again.push(*leaf));
            prop_assert_eq!(again.root(), root_of(&all));
        }
    }
}
