//! Text from files made fit for reports, messages and database columns.

/// How much of a cell a report keeps, in bytes.
const EXCERPT_BYTES_MAX: usize = 200;

/// A cell as a report shows it: control characters (a NUL would not even go into Postgres) replaced by U+FFFD, cut at a
/// character boundary after 200 bytes with `…` at the end.
pub(crate) fn excerpt(cell: &str) -> String {
    excerpt_of(cell, EXCERPT_BYTES_MAX)
}

/// The same with another length.
pub(crate) fn excerpt_of(cell: &str, bytes_max: usize) -> String {
    let mut shown = String::with_capacity(cell.len().min(bytes_max));
    for character in cell.chars() {
        let character = if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
        if shown.len() + character.len_utf8() > bytes_max {
            shown.push('…');
            break;
        }
        shown.push(character);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_has_no_control_characters_and_ends_at_a_character() {
        assert_eq!(excerpt("1\u{0}2\n"), "1\u{fffd}2\u{fffd}");
        assert_eq!(excerpt_of("ääää", 5), "ää…");
        assert_eq!(excerpt_of("abc", 3), "abc");
    }
}
