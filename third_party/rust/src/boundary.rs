//! The types that cross the ABI, and the guard that every exported function runs in.

use std::panic::{catch_unwind, AssertUnwindSafe};

/// `cr_view`: borrowed bytes of the caller's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct View {
    data: *const u8,
    size: usize,
}

impl View {
    /// The bytes, or nothing when the pair cannot be a slice.
    ///
    /// # Safety
    /// A non-null `data` must point to `size` bytes that live and stay unchanged as long as the slice is used.
    pub unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        if self.size == 0 {
            return Some(&[]);
        }
        if self.data.is_null() || self.size > isize::MAX as usize {
            return None;
        }
        Some(unsafe { std::slice::from_raw_parts(self.data, self.size) })
    }

    /// As `bytes`, of UTF-8 text.
    ///
    /// # Safety
    /// As `bytes`.
    pub unsafe fn text<'a>(self) -> Option<&'a str> {
        std::str::from_utf8(unsafe { self.bytes() }?).ok()
    }
}

/// An array of the caller's; nothing when the pair cannot be a slice.
///
/// # Safety
/// As `View::bytes`, for `count` elements.
pub unsafe fn array<'a, T>(data: *const T, count: usize) -> Option<&'a [T]> {
    if count == 0 {
        return Some(&[]);
    }
    if data.is_null() || !data.is_aligned() || count > isize::MAX as usize / size_of::<T>().max(1) {
        return None;
    }
    Some(unsafe { std::slice::from_raw_parts(data, count) })
}

/// `cr_buffer`: bytes that this library allocated.
#[repr(C)]
pub struct Buffer {
    data: *mut u8,
    size: usize,
    capacity: usize,
}

impl Buffer {
    pub const EMPTY: Buffer = Buffer { data: std::ptr::null_mut(), size: 0, capacity: 0 };

    pub fn of(bytes: Vec<u8>) -> Buffer {
        if bytes.capacity() == 0 {
            return Buffer::EMPTY;
        }
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        Buffer { data: bytes.as_mut_ptr(), size: bytes.len(), capacity: bytes.capacity() }
    }

    /// # Safety
    /// The fields must be as `of` made them.
    pub unsafe fn release(&mut self) {
        let taken = std::mem::replace(self, Buffer::EMPTY);
        if !taken.data.is_null() {
            drop(unsafe { Vec::from_raw_parts(taken.data, taken.size, taken.capacity) });
        }
    }
}

/// Runs the body of an exported function; nothing when it panicked.
pub fn guarded<R>(body: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(payload) => {
            // A payload whose destructor panics must not get out either.
            std::mem::forget(payload);
            None
        }
    }
}

#[no_mangle]
pub unsafe extern "C" fn cr_buffer_free(buffer: *mut Buffer) {
    if let Some(buffer) = unsafe { buffer.as_mut() } {
        guarded(|| unsafe { buffer.release() });
    }
}
