// SPDX-License-Identifier: MIT OR Apache-2.0
//! A defect that one guest's frame finds is that port's, not the agent's.
//!
//! The servers cannot panic as far as lints can tell. Should they all the same, the frame is refused and counted.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

/// A panic: where, and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defect(pub(super) String);

thread_local! {
    /// Within [`contain`], the words of a panic; a guest must not fill the log by repeating it.
    static WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does work that changes nothing outside of it.
pub(super) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Defect> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            let contained = WORDS.with_borrow_mut(|words| {
                let within = words.as_mut()?;
                *within = panic.to_string();
                Some(())
            });
            if contained.is_none() {
                before(panic);
            }
        }));
    });
    WORDS.set(Some(String::new()));
    let done = catch_unwind(AssertUnwindSafe(work));
    let words = WORDS.take();
    done.map_err(|_| Defect(words.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_value() {
        assert_eq!(contain(|| 7), Ok(7));
        let Defect(words) = contain(|| panic!("the test's own")).unwrap_err();
        assert!(words.contains("contain.rs:") && words.contains("the test's own"), "{words}");
        assert_eq!(contain(|| 8), Ok(8));
    }
}
