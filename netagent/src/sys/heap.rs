// SPDX-License-Identifier: MIT OR Apache-2.0
//! The process's heap, kept small: an agent runs on every node, next to guests that pay for the memory.

/// Has all threads share two arenas. glibc would give each of the short-lived threads that enter namespaces one of up to
/// eight per CPU (malloc/arena.c), and keep what each had at its fullest.
pub fn share_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes two numbers; it answers 0 for what it does not know, and all is as before.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives back to the kernel what start-up needed: aya reads the types of the whole kernel once, some 20 MiB.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
