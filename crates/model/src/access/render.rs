//! From sets to [`AccessRegion`]s: exact, and as short as it comes.
//!
//! A set of resources is written as a plain union of patterns where that is possible, else as everything less a plain
//! union, else it is taken apart: what is below any segment, except below the named ones that differ, and those by
//! themselves. Actions with the same resources share a region.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::TooComplex;
use super::classes::Piece;
use super::region::AccessRegion;
use super::set::{ALL, NONE, Name, SetId, Sets};
use super::walk::Solution;
use crate::grant::{ActionPattern, Actions, RESOURCE_SEGMENTS_MAX, ResourcePattern, Segment, is_at_or_below};

/// How many patterns an answer may hold.
const PATTERNS_MAX: usize = 10_000;
/// How many different sets are compared pair by pair to share regions between actions.
const SHARED_SETS_MAX: usize = 64;
/// How many pairs of patterns are compared to join pieces; the rest stay apart, which is longer and as exact.
const JOIN_TESTS_MAX: usize = 2_000_000;

/// One segment of a pattern in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name(Name),
    Any,
    Rest,
}

/// A pattern in the making, from where its set hangs; empty for the resource there.
type Path = Vec<Step>;

/// Writes the requests that [`super::walk::solve`] found. Deterministic: sorted, whatever the order of the grants.
pub(super) fn regions(solution: Solution<'_>) -> Result<Vec<AccessRegion>, TooComplex> {
    let Solution { sets, names, classes } = solution;
    let mut writer = Writer { sets, plain: HashMap::new(), pieces: HashMap::new() };
    // What of the set of each class is still to be written.
    let mut left: BTreeMap<SetId, SetId> = classes.sets().map(|set| (set, set)).collect();
    let shares = left.len() <= SHARED_SETS_MAX;
    let mut found = Vec::new();
    let (mut pattern_count, mut tests_left) = (0, JOIN_TESTS_MAX);
    for class in classes.sets() {
        let set = left.get(&class).copied().unwrap_or(NONE);
        if set == NONE {
            continue;
        }
        writer.sets.spend(classes.count())?;
        let mut has_it = Vec::new();
        for (&of, rest) in &mut left {
            if *rest == set || shares && writer.sets.is_within(set, *rest)? {
                has_it.push(of);
                *rest = writer.sets.minus(*rest, set)?;
            }
        }
        let actions = classes.actions(|set| has_it.contains(&set));
        let actions = joined(actions, are_about_one_action, &mut tests_left);
        let resources = writer.pieces_of_root(set)?;
        pattern_count += weight(&resources) * actions.len() + weight(&actions);
        if pattern_count > PATTERNS_MAX {
            return Err(TooComplex);
        }
        for resources in joined(resources, |left, right| are_about_one_resource(left, right), &mut tests_left)
        {
            found.extend(actions.iter().map(|actions| region(actions.clone(), &resources, &names)));
        }
    }
    found.sort();
    Ok(found)
}

fn region(actions: Piece<ActionPattern>, resources: &Piece<Path>, names: &[&str]) -> AccessRegion {
    let written = |paths: &[Path]| sorted(paths.iter().map(|path| pattern(path, names)).collect());
    AccessRegion {
        actions: sorted(actions.included),
        resources: written(&resources.included),
        except_actions: sorted(actions.excepted),
        except_resources: written(&resources.excepted),
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

/// Writes a path. Nothing is below the last segment that a resource can have, so `**` is left out there.
fn pattern(path: &Path, names: &[&str]) -> ResourcePattern {
    let segments = path.iter().take(RESOURCE_SEGMENTS_MAX).map(|step| match step {
        Step::Name(Name(number)) => Segment::Name(names.get(*number).copied().unwrap_or_default()),
        Step::Any => Segment::Any,
        Step::Rest => Segment::Rest,
    });
    ResourcePattern::from_segments(segments)
}

struct Writer {
    sets: Sets,
    plain: HashMap<SetId, Option<Rc<Vec<Path>>>>,
    pieces: HashMap<SetId, Rc<Vec<Piece<Path>>>>,
}

impl Writer {
    /// The pieces of a set of whole resources. The root cannot be written alone: it is `**` except `*/**`.
    fn pieces_of_root(&mut self, set: SetId) -> Result<Vec<Piece<Path>>, TooComplex> {
        let split = self.sets.split(set);
        if set == ALL || !split.here || split.other == ALL {
            return self.pieces(set).map(|pieces| pieces.to_vec());
        }
        if let Some(piece) = self.all_but(set)? {
            return Ok(vec![piece]);
        }
        let root = Piece { included: vec![vec![Step::Rest]], excepted: vec![vec![Step::Any, Step::Rest]] };
        let below = self.sets.without_here(set)?;
        let mut pieces = self.pieces(below)?.to_vec();
        pieces.push(root);
        Ok(pieces)
    }

    /// The pieces whose union is this set.
    fn pieces(&mut self, set: SetId) -> Result<Rc<Vec<Piece<Path>>>, TooComplex> {
        if let Some(known) = self.pieces.get(&set) {
            return Ok(Rc::clone(known));
        }
        let pieces = if let Some(included) = self.plain(set)? {
            let piece = Piece { included: included.to_vec(), excepted: Vec::new() };
            if piece.included.is_empty() { Vec::new() } else { vec![piece] }
        } else {
            let apart = self.taken_apart(set)?;
            let whole = self.all_but(set)?.map(|piece| vec![piece]);
            whole.filter(|whole| weight(whole) <= weight(&apart)).unwrap_or(apart)
        };
        let pieces = Rc::new(pieces);
        self.pieces.insert(set, Rc::clone(&pieces));
        Ok(pieces)
    }

    /// The set as a union of patterns with no exceptions, if it is one.
    fn plain(&mut self, set: SetId) -> Result<Option<Rc<Vec<Path>>>, TooComplex> {
        if let Some(known) = self.plain.get(&set) {
            return Ok(known.clone());
        }
        let paths = self.plain_paths(set)?.map(Rc::new);
        self.plain.insert(set, paths.clone());
        Ok(paths)
    }

    fn plain_paths(&mut self, set: SetId) -> Result<Option<Vec<Path>>, TooComplex> {
        if set == NONE || set == ALL {
            return Ok(Some(if set == ALL { vec![vec![Step::Rest]] } else { Vec::new() }));
        }
        let split = self.sets.split(set);
        let mut paths = if split.here { vec![Path::new()] } else { Vec::new() };
        let Some(other) = self.plain(split.other)? else { return Ok(None) };
        self.extend(&mut paths, Step::Any, &other)?;
        for &(name, below) in &split.named {
            // `*` is about this segment too, so all that it gives must be in.
            if !self.sets.is_within(split.other, below)? {
                return Ok(None);
            }
            let whole = self.plain(below)?;
            let more = self.sets.minus(below, split.other)?;
            let more = self.plain(more)?;
            let shorter = match (whole, more) {
                (Some(whole), Some(more)) => {
                    if more.len() < whole.len() {
                        more
                    } else {
                        whole
                    }
                }
                (Some(only), None) | (None, Some(only)) => only,
                (None, None) => return Ok(None),
            };
            self.extend(&mut paths, Step::Name(name), &shorter)?;
        }
        Ok(Some(paths))
    }

    /// The set as everything less a union of patterns, if it is that.
    fn all_but(&mut self, set: SetId) -> Result<Option<Piece<Path>>, TooComplex> {
        let here = self.sets.split(set).here;
        let outside = self.sets.complement(set)?;
        let outside = self.sets.without_here(outside)?;
        let included = if here { vec![Step::Rest] } else { vec![Step::Any, Step::Rest] };
        let excepted = self.plain(outside)?;
        Ok(excepted.map(|excepted| Piece { included: vec![included], excepted: excepted.to_vec() }))
    }

    /// The set as what is below any segment, except below the named ones that differ, and those by themselves.
    fn taken_apart(&mut self, set: SetId) -> Result<Vec<Piece<Path>>, TooComplex> {
        let split = self.sets.split(set);
        let mut pieces = Vec::new();
        if split.here && split.other == ALL {
            pieces.push(Piece { included: vec![vec![Step::Rest]], excepted: Vec::new() });
        } else {
            if split.here {
                pieces.push(Piece { included: vec![Path::new()], excepted: Vec::new() });
            }
            let other = self.pieces(split.other)?;
            self.extend_pieces(&mut pieces, Step::Any, &other)?;
        }
        let mut excepted = Vec::new();
        let mut named = Vec::new();
        for &(name, below) in &split.named {
            let missing = self.sets.minus(split.other, below)?;
            let more = self.sets.minus(below, split.other)?;
            let rest = if let Some(missing) = self.plain(missing)? {
                self.extend(&mut excepted, Step::Name(name), &missing)?;
                let (whole, more) = (self.pieces(below)?, self.pieces(more)?);
                if weight(&whole) < weight(&more) { whole } else { more }
            } else {
                excepted.push(vec![Step::Name(name), Step::Rest]);
                self.pieces(below)?
            };
            self.extend_pieces(&mut named, Step::Name(name), &rest)?;
        }
        self.sets.spend(pieces.len().saturating_mul(excepted.len()))?;
        for piece in &mut pieces {
            let included = &piece.included;
            let matters = |path: &&Path| included.iter().any(|held| are_about_one_resource(held, path));
            let excepted: Vec<Path> = excepted.iter().filter(matters).cloned().collect();
            piece.excepted.extend(excepted);
        }
        pieces.append(&mut named);
        Ok(pieces)
    }

    /// Adds `paths`, each below `step`.
    fn extend(&mut self, to: &mut Vec<Path>, step: Step, paths: &[Path]) -> Result<(), TooComplex> {
        for path in paths {
            self.sets.spend(1 + path.len())?;
            to.push([&[step], path.as_slice()].concat());
        }
        Ok(())
    }

    /// Adds `pieces`, each below `step`.
    fn extend_pieces(
        &mut self,
        to: &mut Vec<Piece<Path>>,
        step: Step,
        pieces: &[Piece<Path>],
    ) -> Result<(), TooComplex> {
        for piece in pieces {
            let (mut included, mut excepted) = (Vec::new(), Vec::new());
            self.extend(&mut included, step, &piece.included)?;
            self.extend(&mut excepted, step, &piece.excepted)?;
            to.push(Piece { included, excepted });
        }
        Ok(())
    }
}

/// How long this is to read.
fn weight<P>(pieces: &[Piece<P>]) -> usize {
    pieces.iter().map(|piece| piece.included.len() + piece.excepted.len()).sum()
}

/// Joins pieces wherever no exception of one touches the other: the union then means the same.
fn joined<P>(
    pieces: Vec<Piece<P>>,
    overlap: impl Fn(&P, &P) -> bool,
    tests_left: &mut usize,
) -> Vec<Piece<P>> {
    let touches = |some: &[P], others: &[P]| some.iter().any(|p| others.iter().any(|o| overlap(p, o)));
    let mut joined: Vec<Piece<P>> = Vec::new();
    for piece in pieces {
        let fitting = joined.iter().position(|held| {
            let tests =
                held.excepted.len() * piece.included.len() + piece.excepted.len() * held.included.len();
            *tests_left = tests_left.saturating_sub(tests);
            *tests_left == 0
                || !touches(&held.excepted, &piece.included) && !touches(&piece.excepted, &held.included)
        });
        match fitting.filter(|_| *tests_left > 0).and_then(|at| joined.get_mut(at)) {
            Some(held) => {
                held.included.extend(piece.included);
                held.excepted.extend(piece.excepted);
            }
            None => joined.push(piece),
        }
    }
    joined
}

/// Says whether some resource is covered by both.
fn are_about_one_resource(left: &[Step], right: &[Step]) -> bool {
    let (mut left, mut right) = (left.iter(), right.iter());
    loop {
        match (left.next(), right.next()) {
            (Some(Step::Rest), _) | (_, Some(Step::Rest)) | (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some(Step::Name(a)), Some(Step::Name(b))) if a != b => return false,
            _ => {}
        }
    }
}

/// Says whether some action is covered by both.
fn are_about_one_action(left: &ActionPattern, right: &ActionPattern) -> bool {
    match (left.parts(), right.parts()) {
        (Actions::Any, _) | (_, Actions::Any) => true,
        (Actions::One(a), Actions::One(b)) => a == b,
        (Actions::One(one), Actions::Tree(tree)) | (Actions::Tree(tree), Actions::One(one)) => {
            is_at_or_below(one, tree)
        }
        (Actions::Tree(a), Actions::Tree(b)) => is_at_or_below(a, b) || is_at_or_below(b, a),
    }
}
