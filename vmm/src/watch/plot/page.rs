//! The picture within a page, with its figures as a table.

use std::fmt::Write as _;

use super::{Plot, escape, percent, svg};

const STYLE: &str = "\
body { font: 15px/1.5 system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; color: #222; \
max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .9rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
caption { text-align: left; font-weight: 600; padding: .25rem 0 }
p { color: #555 }";

/// Makes a page of `plot` that needs no other file.
pub fn page(plot: &Plot) -> String {
    let title = escape(&plot.title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>\n{STYLE}\n</style>\n</head>\n<body>\n{}",
        svg(plot)
    );
    for chart in &plot.charts {
        let _ = write!(
            out,
            "<table>\n<caption>{}</caption>\n<tr><th>tenant</th><th>used</th><th>entitled</th>\
             <th>difference</th><th>mean wait</th><th>calls/s</th><th>active</th></tr>\n",
            escape(&chart.accelerator)
        );
        for line in &chart.lines {
            let name = escape(&line.tenant);
            let _ = match line.mean {
                Some(mean) => writeln!(
                    out,
                    "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{:+.1} %</td><td>{:.2} ms</td>\
                     <td>{:.0}</td><td>{:.1} s</td></tr>",
                    percent(mean.used),
                    percent(mean.entitled),
                    100.0 * (mean.used - mean.entitled),
                    mean.wait_ms,
                    mean.calls,
                    mean.seconds
                ),
                None => writeln!(
                    out,
                    "<tr><td>{name}</td><td>0</td><td></td><td></td><td></td><td></td><td>idle</td></tr>"
                ),
            };
        }
        out.push_str("</table>\n");
    }
    out.push_str(
        "<p>Means are over the windows in which a tenant used the device or waited for it. Entitled is \
         its part by weight, up to its cap, among the tenants that did so in the same window.</p>\n\
         </body>\n</html>\n",
    );
    out
}
