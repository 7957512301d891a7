//! Which delimiter a file has.

/// What stands between cells in the files that shops and vendors send.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// Rows that are looked at.
const ROWS: usize = 50;

/// The delimiter with which most of the first rows have as many cells as the header, and the header most cells. A comma where none has.
pub(super) fn delimiter(text: &str) -> u8 {
    let mut best = (0, b',');
    for delimiter in DELIMITERS {
        let score = score(text, delimiter);
        if score > best.0 {
            best = (score, delimiter);
        }
    }
    best.1
}

/// Cells of the header, weighted by how many of the rows agree with it; 0 if it is one cell.
fn score(text: &str, delimiter: u8) -> usize {
    let mut widths =
        super::reader(text, delimiter).into_records().take(ROWS).map_while(Result::ok).map(|row| row.len());
    let Some(header) = widths.next().filter(|width| *width > 1) else { return 0 };
    let (rows, agreeing) =
        widths.fold((0, 0), |(rows, agreeing), width| (rows + 1, agreeing + usize::from(width == header)));
    // A file of a header only is judged by that.
    header * 100 * (agreeing + 1) / (rows + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_usual_delimiter_is_recognised() {
        for delimiter in DELIMITERS {
            let text = "sku,name,stock\nA,one,1\nB,two,2\n".replace(',', &char::from(delimiter).to_string());
            assert_eq!(super::delimiter(&text), delimiter);
        }
    }

    #[test]
    fn commas_within_cells_do_not_make_it_a_comma() {
        let text = "code;description;stock\nA;one, two, three, four;1\nB;five, six, seven;2\n";
        assert_eq!(delimiter(text), b';');
        let quoted = "code,description,stock\nA,\"a;b;c;d;e\",1\n";
        assert_eq!(delimiter(quoted), b',');
    }

    #[test]
    fn one_column_is_taken_for_commas() {
        assert_eq!(delimiter("sku\nA\nB\n"), b',');
    }
}
