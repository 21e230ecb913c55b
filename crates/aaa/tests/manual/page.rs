//! A page, and what in it is to be tried.

use std::fs;
use std::path::{Path, PathBuf};

/// A page of Markdown.
pub(crate) struct Page {
    /// Where it is, from the root.
    pub path: PathBuf,
    /// Its text, without what stands in blocks of code.
    pub prose: Vec<(usize, String)>,
    pub blocks: Vec<Block>,
}

/// A block that is to be tried.
pub(crate) enum Block {
    /// A file that the reader is to write.
    File { name: String, text: String },
    /// What is typed, one after the other.
    Console(Vec<Step>),
}

/// A command, and what it says.
pub(crate) struct Step {
    /// The line in the page.
    pub line: usize,
    pub command: String,
    pub output: Vec<String>,
}

impl Page {
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(root.join(path)).unwrap();
        let mut page = Self {
            path: path.to_owned(),
            prose: Vec::new(),
            blocks: Vec::new(),
        };
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            let Some(info) = line.trim_start().strip_prefix("```") else {
                page.prose.push((number, line.to_owned()));
                continue;
            };
            let within: Vec<(&str, usize)> = lines
                .by_ref()
                .take_while(|(line, _)| line.trim_start() != "```")
                .collect();
            page.blocks.extend(block(info, &within));
        }
        page
    }

    /// Where it is, as people write it.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

fn block(info: &str, lines: &[(&str, usize)]) -> Option<Block> {
    if let Some((_, title)) = info.split_once("title=\"") {
        let name = title.trim_end_matches('"').to_owned();
        let text = lines.iter().flat_map(|(line, _)| [*line, "\n"]).collect();
        return Some(Block::File { name, text });
    }
    (info == "console").then(|| {
        let mut steps: Vec<Step> = Vec::new();
        for (line, number) in lines {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    line: *number,
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                // A command goes on where its line ends with a backslash.
                (None, Some(step)) if step.output.is_empty() && step.command.ends_with('\\') => {
                    step.command.push('\n');
                    step.command.push_str(line);
                }
                (None, Some(step)) => step.output.push((*line).to_owned()),
                (None, None) => panic!("line {number}: output before the first command"),
            }
        }
        Block::Console(steps)
    })
}
