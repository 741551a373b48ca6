//! What pages are made of. Whatever comes from outside goes through [`escape`].

use crate::picture::{Picture, STYLE};

pub(super) use crate::picture::escape;

/// The look of pages.
const PAGE: &str = "\
:root{color-scheme:light dark;--ink:#1d2126;--quiet:#59616b;--rule:#d9dde2;--paper:#ffffff;--tint:#f6f7f9}\
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--quiet:#a4adb8;--rule:#333a42;--paper:#15181c;--tint:#1d2126}}\
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,'Segoe UI',Roboto,'Helvetica Neue',sans-serif}\
main{max-width:80rem;margin:0 auto;padding:2rem 1.25rem 4rem}\
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .4rem}h2{font-size:1.25rem;margin:2.6rem 0 .6rem}h3{font-size:1rem;margin:1.8rem 0 .4rem}\
p{max-width:46rem}.quiet{color:var(--quiet)}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.6rem 0}\
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top}\
td.number,th.number{text-align:right;white-space:nowrap}thead th{color:var(--quiet);font-weight:600;font-size:.86rem}\
figure{margin:.6rem 0}.wide{overflow-x:auto}.beside{display:flex;flex-wrap:wrap;gap:1.2rem}\
figcaption{color:var(--quiet);font-size:.88rem}svg.picture{display:block;max-width:none;height:auto}\
details{margin:.5rem 0}summary{cursor:pointer;color:var(--quiet)}summary:focus-visible{outline:2px solid #2f6cc0;outline-offset:2px}\
blockquote{margin:.4rem 0;padding:.5rem .9rem;background:var(--tint);border-left:3px solid var(--rule)}\
code{font-size:.88em;background:var(--tint);padding:.1em .3em;overflow-wrap:anywhere}";

/// A whole page. Its policy forbids what it does not have: scripts, and anything from elsewhere.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>{PAGE}{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// A paragraph of text.
pub(super) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// A paragraph that stays in the background.
pub(super) fn remark(text: &str) -> String {
    format!("<p class=\"quiet\">{}</p>\n", escape(text))
}

/// A heading of level 1, 2 or 3.
pub(super) fn heading(level: u8, text: &str) -> String {
    format!("<h{level}>{}</h{level}>\n", escape(text))
}

/// A formula or a command.
pub(super) fn code(text: &str) -> String {
    format!("<p><code>{}</code></p>\n", escape(text))
}

/// Text that is quoted, with its line breaks.
pub(super) fn quote(text: &str) -> String {
    format!("<blockquote>{}</blockquote>\n", text.lines().map(escape).collect::<Vec<_>>().join("<br>"))
}

/// A picture that can be scrolled where it is wider than the page.
pub(super) fn figure(picture: &Picture, caption: &str) -> String {
    let caption = if caption.is_empty() { String::new() } else { format!("<figcaption>{}</figcaption>", escape(caption)) };
    format!("<figure><div class=\"wide\" tabindex=\"0\">{}</div>{caption}</figure>\n", picture.to_inline_svg())
}

/// What can be opened.
pub(super) fn details(summary: &str, content: &str) -> String {
    format!("<details><summary>{}</summary>\n{content}</details>\n", escape(summary))
}

/// A column of a table.
#[derive(Clone, Copy)]
pub(super) enum Column<'a> {
    /// Of words.
    Text(&'a str),
    /// Of numbers, which stand at the right.
    Number(&'a str),
}

/// A table; the first cell of each row is its heading.
pub(super) fn table(columns: &[Column<'_>], rows: &[Vec<String>]) -> String {
    let class = |column: &Column<'_>| match column {
        Column::Text(_) => "",
        Column::Number(_) => " class=\"number\"",
    };
    let heading = |column: &Column<'_>| {
        let (Column::Text(name) | Column::Number(name)) = column;
        format!("<th scope=\"col\"{}>{}</th>", class(column), escape(name))
    };
    let cell = |(i, (column, text)): (usize, (&Column<'_>, &String))| {
        if i == 0 {
            format!("<th scope=\"row\"{}>{}</th>", class(column), escape(text))
        } else {
            format!("<td{}>{}</td>", class(column), escape(text))
        }
    };
    let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", columns.iter().zip(row).enumerate().map(cell).collect::<String>());
    format!(
        "<div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
        columns.iter().map(heading).collect::<String>(),
        rows.iter().map(row).collect::<String>()
    )
}

/// A score with its interval.
pub(super) fn scored(score: f64, interval: Option<[f64; 2]>) -> String {
    match interval {
        Some([low, high]) => format!("{score:.1} [{low:.1}, {high:.1}]"),
        None => format!("{score:.1}"),
    }
}
