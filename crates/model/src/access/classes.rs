//! Actions in classes: all actions that no pattern of a comparison tells apart.
//!
//! Patterns mention names. Each name `b` makes two classes, `b` itself and what is below it but at or below no longer
//! mentioned name; one more class is all that is at or below no mentioned name. Their number is bounded by the
//! patterns', and a class matches a pattern as a whole or not at all.

use std::collections::BTreeMap;

use super::set::NONE;
use super::set::SetId;
use crate::grant::{ActionPattern, Actions, Grant};

/// What the patterns say about one mentioned name.
#[derive(Debug, Default)]
struct Mention {
    one: Vec<usize>,
    tree: Vec<usize>,
    /// Which mentioned name it is, in their order.
    number: usize,
    /// The number of the longest mentioned name that it is below.
    above: Option<usize>,
    /// The class of the name itself.
    exact: SetId,
    /// The class of what is below it and nowhere else.
    below: SetId,
}

/// The classes of all actions, with a set of resources for each.
#[derive(Debug, Default)]
pub(super) struct Classes<'a> {
    any: Vec<usize>,
    fresh: SetId,
    mentions: BTreeMap<&'a str, Mention>,
}

/// Patterns less patterns: `orders.*` except `orders.delete`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece<P> {
    pub(super) included: Vec<P>,
    pub(super) excepted: Vec<P>,
}

impl<'a> Classes<'a> {
    /// The classes that the patterns of these grants make.
    pub(super) fn new(grants: impl Iterator<Item = &'a Grant>) -> Self {
        let mut classes = Self::default();
        for (index, grant) in grants.enumerate() {
            for pattern in &grant.actions {
                match pattern.parts() {
                    Actions::Any => classes.any.push(index),
                    Actions::One(name) => classes.mentions.entry(name).or_default().one.push(index),
                    Actions::Tree(name) => classes.mentions.entry(name).or_default().tree.push(index),
                }
            }
        }
        for (number, mention) in classes.mentions.values_mut().enumerate() {
            mention.number = number;
        }
        let above: Vec<_> = classes.mentions.keys().map(|name| classes.number_above(name)).collect();
        for (mention, above) in classes.mentions.values_mut().zip(above) {
            mention.above = above;
        }
        classes
    }

    /// How many classes there are.
    pub(super) fn count(&self) -> usize {
        1 + 2 * self.mentions.len()
    }

    /// Asks `solve` for the set of each class, by the sorted indices of the grants about it.
    pub(super) fn solve<E>(
        &mut self,
        mut solve: impl FnMut(Vec<usize>) -> Result<SetId, E>,
    ) -> Result<(), E> {
        let sorted = |mut about: Vec<usize>| {
            about.sort_unstable();
            about.dedup();
            about
        };
        self.fresh = solve(sorted(self.any.clone()))?;
        let mut solved = Vec::with_capacity(self.mentions.len());
        for (name, mention) in &self.mentions {
            let mut below = self.any.clone();
            below.extend(&mention.tree);
            for (at, _) in name.match_indices('.') {
                let above = name.get(..at).and_then(|above| self.mentions.get(above));
                below.extend(above.into_iter().flat_map(|above| &above.tree));
            }
            let mut exact = below.clone();
            exact.extend(&mention.one);
            solved.push((solve(sorted(exact))?, solve(sorted(below))?));
        }
        for (mention, (exact, below)) in self.mentions.values_mut().zip(solved) {
            (mention.exact, mention.below) = (exact, below);
        }
        Ok(())
    }

    /// The set of each class, the widest classes first.
    pub(super) fn sets(&self) -> impl Iterator<Item = SetId> {
        let below = self.mentions.values().map(|mention| mention.below);
        let exact = self.mentions.values().map(|mention| mention.exact);
        std::iter::once(self.fresh).chain(below).chain(exact)
    }

    /// Says whether no class has anything.
    pub(super) fn is_empty(&self) -> bool {
        self.sets().all(|set| set == NONE)
    }

    /// The actions of all classes whose set `is_in`, as patterns.
    pub(super) fn actions(&self, is_in: impl Fn(SetId) -> bool) -> Vec<Piece<ActionPattern>> {
        let mut found = Vec::new();
        // The piece, if any, whose patterns take in all that is below a name and mentioned nowhere else.
        let mut around: Vec<Option<usize>> = Vec::with_capacity(self.mentions.len());
        let outermost = is_in(self.fresh).then(|| start(&mut found, Actions::Any));
        for (&name, mention) in &self.mentions {
            // Invariant: a name sorts after those above it.
            let within = mention.above.and_then(|above| around.get(above).copied()).unwrap_or(outermost);
            let inside = match (within, is_in(mention.exact), is_in(mention.below)) {
                (Some(piece), true, true) => Some(piece),
                (Some(piece), false, true) => {
                    except(&mut found, piece, Actions::One(name));
                    Some(piece)
                }
                (Some(piece), exact, false) => {
                    except(&mut found, piece, Actions::Tree(name));
                    if exact {
                        start(&mut found, Actions::One(name));
                    }
                    None
                }
                (None, true, true) => Some(start(&mut found, Actions::Tree(name))),
                (None, false, true) => {
                    let piece = start(&mut found, Actions::Tree(name));
                    except(&mut found, piece, Actions::One(name));
                    Some(piece)
                }
                (None, true, false) => {
                    start(&mut found, Actions::One(name));
                    None
                }
                (None, false, false) => None,
            };
            around.push(inside);
        }
        found
    }

    fn number_above(&self, name: &str) -> Option<usize> {
        let above = name.rmatch_indices('.').filter_map(|(at, _)| name.get(..at));
        above.filter_map(|above| self.mentions.get(above)).map(|mention| mention.number).next()
    }
}

fn start(found: &mut Vec<Piece<ActionPattern>>, included: Actions<'_>) -> usize {
    found.push(Piece { included: vec![ActionPattern::from_parts(included)], excepted: Vec::new() });
    found.len() - 1
}

fn except(found: &mut [Piece<ActionPattern>], piece: usize, excepted: Actions<'_>) {
    if let Some(piece) = found.get_mut(piece) {
        piece.excepted.push(ActionPattern::from_parts(excepted));
    }
}
