//! The colours of all pictures, for light and for dark pages.

/// CSS for the classes that pictures use. Where a reader of SVG knows no media queries, as when a PNG is made, pictures are light.
///
/// Series have the colours of Okabe and Ito (2008), which people with every kind of colour vision tell apart; their lines differ in dashes and
/// marks as well.
pub const STYLE: &str = "\
.picture text{font-family:system-ui,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',sans-serif;font-size:13px}\
.picture .small{font-size:11px}.picture .head{font-size:15px;font-weight:600}\
.picture .page{fill:#ffffff}.picture .ink{fill:#1d2126}.picture .quiet{fill:#59616b}.picture .paper{fill:#ffffff}\
.picture .rule{stroke:#d9dde2;stroke-width:1;fill:none}.picture .axis{stroke:#8a929c;stroke-width:1;fill:none}\
.picture .empty{fill:#f4f1f8}.picture .weight{fill:#5b2a9d}\
.picture .source{fill:#fdf0e3;stroke:#c96a12}.picture .target{fill:#e6f0fb;stroke:#2f6cc0}\
.picture .s0{stroke:#0072b2}.picture .s1{stroke:#d55e00}.picture .s2{stroke:#009e73}.picture .s3{stroke:#b0588c}.picture .s4{stroke:#a87400}.picture .s5{stroke:#3d8fc4}\
.picture .f0{fill:#0072b2}.picture .f1{fill:#d55e00}.picture .f2{fill:#009e73}.picture .f3{fill:#b0588c}.picture .f4{fill:#a87400}.picture .f5{fill:#3d8fc4}\
.picture .line{fill:none;stroke-width:2.2;stroke-linejoin:round}.picture .whisker{fill:none;stroke-width:1.4}\
@media (prefers-color-scheme:dark){\
.picture .page{fill:#15181c}.picture .ink{fill:#e8eaed}.picture .quiet{fill:#a4adb8}.picture .paper{fill:#15181c}\
.picture .rule{stroke:#333a42}.picture .axis{stroke:#7b848e}\
.picture .empty{fill:#221d2b}.picture .weight{fill:#c7a4ff}\
.picture .source{fill:#3a2814;stroke:#f0a04b}.picture .target{fill:#152b47;stroke:#7db2f5}\
.picture .s0{stroke:#56b4e9}.picture .s1{stroke:#ff9147}.picture .s2{stroke:#2fd3a1}.picture .s3{stroke:#e592c3}.picture .s4{stroke:#e6b53c}.picture .s5{stroke:#9fd3f5}\
.picture .f0{fill:#56b4e9}.picture .f1{fill:#ff9147}.picture .f2{fill:#2fd3a1}.picture .f3{fill:#e592c3}.picture .f4{fill:#e6b53c}.picture .f5{fill:#9fd3f5}\
}";

/// How many series have a colour of their own; further ones begin anew.
const SERIES: usize = 6;
/// What tells lines apart without colour.
const DASHES: [&str; 4] = ["", "7 4", "2 3", "9 3 2 3"];

/// The class of a series' strokes.
pub(super) fn stroke(series: usize) -> String {
    format!("s{}", series % SERIES)
}

/// The class of a series' areas.
pub(super) fn fill(series: usize) -> String {
    format!("f{}", series % SERIES)
}

/// A series' dashes; empty is a whole line.
pub(super) fn dashes(series: usize) -> &'static str {
    DASHES[series % DASHES.len()]
}
