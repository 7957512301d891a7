//! Who may call what: a table with one row for every method of a service's protos, checked when the service is compiled.
//!
//! A call whose method has no row, or whose caller has none of the row's roles, is denied.

use crate::Role;

/// Who may call a method, and how soon it is shed.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// The full path as it stands in a request: `/holdfast.reservation.v1.ReservationService/Reserve`.
    pub path: &'static str,
    /// A caller needs one of these. None means nobody.
    pub roles: &'static [Role],
    /// How soon it is shed when the service is full.
    pub priority: Priority,
}

impl Method {
    /// A row.
    #[must_use]
    pub const fn new(path: &'static str, priority: Priority, roles: &'static [Role]) -> Self {
        Self { path, roles, priority }
    }
}

/// How soon calls of a method are shed when requests in flight near the limit. Who is near the end of his purchase is turned away last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Reads: the caller can show an older number. May fill 80 % of the places.
    Read,
    /// New work, for example Reserve. May fill 90 % of the places.
    Begin,
    /// Gives something back, for example Release. May fill 95 % of the places.
    Undo,
    /// Ends what was promised, for example Confirm. May fill all places.
    Finish,
}

impl Priority {
    /// How many of so many places calls of this priority may fill; at least one.
    #[must_use]
    pub const fn places(self, of: usize) -> usize {
        let percent = match self {
            Self::Read => 80,
            Self::Begin => 90,
            Self::Undo => 95,
            Self::Finish => 100,
        };
        let places = of * percent / 100;
        if places == 0 { 1 } else { places }
    }
}

/// The table of a service. Declare it as a `static` or `const`: then the check runs in the compiler.
///
/// ```
/// use holdfast_kit::{Method, MethodTable, Priority, Role};
///
/// static METHODS: MethodTable = MethodTable::new(&["example.Empty"], &[]);
/// assert!(METHODS.find("/example.Empty/Call").is_none());
/// ```
///
/// A method without a row does not compile:
///
/// ```compile_fail
/// use holdfast_kit::{MethodTable};
///
/// static METHODS: MethodTable = MethodTable::new(&["holdfast.reservation.v1.ReservationService"], &[]);
/// ```
#[derive(Debug)]
pub struct MethodTable {
    services: &'static [&'static str],
    rows: &'static [Method],
}

impl MethodTable {
    /// A table for these services (their full names, tonic's `SERVICE_NAME`) with these rows.
    ///
    /// # Panics
    /// When a method of the services in the protos has no row, a row names no method of them, or two rows name the same. In a `static` this fails the
    /// build, and the message names the method.
    #[must_use]
    pub const fn new(services: &'static [&'static str], rows: &'static [Method]) -> Self {
        let table = Self { services, rows };
        if let Some((what, path)) = table.fault(holdfast_api::METHODS) {
            complain(what, path);
        }
        table
    }

    /// The row of a path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&'static Method> {
        self.rows.iter().find(|row| row.path == path)
    }

    /// All rows.
    #[must_use]
    pub const fn rows(&self) -> &'static [Method] {
        self.rows
    }

    /// The full names of the services that the table is for.
    #[must_use]
    pub const fn services(&self) -> &'static [&'static str] {
        self.services
    }

    /// What is wrong with the table, and with which path, given all methods that there are.
    const fn fault(&self, methods: &[&'static str]) -> Option<(&'static str, &'static str)> {
        let mut index = 0;
        while index < methods.len() {
            let path = methods[index];
            if self.serves(path) && self.count(path) == 0 {
                return Some(("a method of the protos has no row in the method table: ", path));
            }
            index += 1;
        }
        index = 0;
        while index < self.rows.len() {
            let path = self.rows[index].path;
            if !self.serves(path) || !contains(methods, path) {
                return Some(("a row of the method table names no method of the table's services: ", path));
            }
            if self.count(path) > 1 {
                return Some(("two rows of the method table name the same method: ", path));
            }
            index += 1;
        }
        None
    }

    const fn serves(&self, path: &str) -> bool {
        let mut index = 0;
        while index < self.services.len() {
            if is_method_of(path.as_bytes(), self.services[index].as_bytes()) {
                return true;
            }
            index += 1;
        }
        false
    }

    const fn count(&self, path: &str) -> usize {
        let (mut index, mut count) = (0, 0);
        while index < self.rows.len() {
            if same(self.rows[index].path.as_bytes(), path.as_bytes()) {
                count += 1;
            }
            index += 1;
        }
        count
    }
}

/// Whether `path` is `/service/…`.
const fn is_method_of(path: &[u8], service: &[u8]) -> bool {
    if path.len() < service.len() + 2 || path[0] != b'/' || path[service.len() + 1] != b'/' {
        return false;
    }
    let mut index = 0;
    while index < service.len() {
        if path[index + 1] != service[index] {
            return false;
        }
        index += 1;
    }
    true
}

const fn contains(all: &[&str], one: &str) -> bool {
    let mut index = 0;
    while index < all.len() {
        if same(all[index].as_bytes(), one.as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

/// `==` of strings is not const.
const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// Panics with both texts joined: a const panic cannot format, but the compiler's message should name the method.
const fn complain(what: &str, path: &str) -> ! {
    let mut joined = [b' '; 256];
    let mut at = 0;
    let texts = [what.as_bytes(), path.as_bytes()];
    let mut text = 0;
    while text < texts.len() {
        let mut index = 0;
        while index < texts[text].len() && at < joined.len() {
            joined[at] = texts[text][index];
            at += 1;
            index += 1;
        }
        text += 1;
    }
    match core::str::from_utf8(&joined) {
        Ok(message) => panic!("{}", message),
        Err(_) => panic!("the method table does not match the protos"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVE: &str = "/holdfast.reservation.v1.ReservationService/Reserve";
    const CONFIRM: &str = "/holdfast.reservation.v1.ReservationService/Confirm";
    const ELSEWHERE: &str = "/holdfast.reservation.v1.ReservationServiceX/Reserve";
    const METHODS: &[&str] = &[RESERVE, CONFIRM, ELSEWHERE];

    fn fault(paths: &[&'static str]) -> Option<(&'static str, &'static str)> {
        let rows: Vec<_> = paths.iter().map(|path| Method::new(path, Priority::Read, Role::ALL)).collect();
        let table = MethodTable { services: &["holdfast.reservation.v1.ReservationService"], rows: rows.leak() };
        table.fault(METHODS)
    }

    #[test]
    fn a_table_with_one_row_for_each_method_is_right() {
        assert_eq!(fault(&[CONFIRM, RESERVE]), None);
    }

    #[test]
    fn a_method_without_a_row_is_found() {
        let (what, path) = fault(&[RESERVE]).unwrap();
        assert!(what.contains("has no row") && path == CONFIRM, "{what}{path}");
    }

    #[test]
    fn a_row_without_a_method_is_found() {
        for extra in ["/holdfast.reservation.v1.ReservationService/Reserv", ELSEWHERE, "", "/"] {
            let (what, path) = fault(&[RESERVE, CONFIRM, extra]).unwrap();
            assert!(what.contains("names no method") && path == extra, "{what}{path}");
        }
    }

    #[test]
    fn a_second_row_is_found() {
        let (what, path) = fault(&[RESERVE, CONFIRM, RESERVE]).unwrap();
        assert!(what.contains("two rows") && path == RESERVE, "{what}{path}");
    }

    #[test]
    #[should_panic(expected = "a method of the protos has no row in the method table: /holdfast.")]
    fn the_compilers_message_names_the_method() {
        // What a `static` does while it is compiled.
        let _ = MethodTable::new(&["holdfast.reservation.v1.ReservationService"], &[]);
    }

    #[test]
    fn what_ends_a_purchase_is_shed_last() {
        let places =
            [Priority::Read, Priority::Begin, Priority::Undo, Priority::Finish].map(|priority| priority.places(1000));
        assert_eq!(places, [800, 900, 950, 1000]);
        assert_eq!(Priority::Read.places(1), 1, "a tiny server still reads");
    }
}
