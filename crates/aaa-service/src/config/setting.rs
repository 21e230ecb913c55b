//! What may stand in a configuration file, as data: checked when the file is read, and printed as the reference manual.

/// One setting of a section.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in the file.
    pub key: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What holds when it is absent, as it would be written (without the quotes of JSON).
    pub default: Option<&'static str>,
    /// One sentence or two for the manual: what it does, and its unit.
    pub doc: &'static str,
    /// A value as it would stand in the file, in JSON.
    pub example: &'static str,
}

/// The settings of a section, in the order of the manual.
pub type Table = [Setting];

/// Where a section stands (`jetstream_auditor.stream`, `userlist_authenticator.users[]` for each of a list, empty at the top), and
/// its settings.
pub type Described = (&'static str, &'static Table);

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A text that nobody may see: a password, a client's secret.
    Secret,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// The path of a file or directory.
    Path,
    /// `true` or `false`.
    Bool,
    /// A whole number between these two, both included.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A number with or without a fraction, between 0 and 1.
    Ratio,
    /// A TCP port, as a number or as a text.
    Port,
    /// A duration in Go's notation.
    Duration,
    /// A list of texts.
    List,
    /// A list of texts, or one text with commas or spaces between the items.
    Words,
    /// An object whose members are all texts.
    Map,
    /// An object with settings of its own; whoever opens it has its table.
    Section,
    /// A list of such objects.
    Sections,
    /// Was a setting once; accepted with a warning that says this.
    Obsolete(&'static str),
}

impl Setting {
    /// A setting without a default and with an example to be added.
    pub const fn new(key: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            key,
            kind,
            default: None,
            doc,
            example: "",
        }
    }

    /// With this default.
    #[must_use]
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// With this example, in JSON.
    #[must_use]
    pub const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }
}

impl Kind {
    /// What is wanted, for an error and for the manual: "a duration such as 1h, …".
    pub fn wants(self) -> String {
        match self {
            Self::Text | Self::Secret => "a text in quotes".to_owned(),
            Self::OneOf(words) => one_of(words),
            Self::Path => "the path of a file, in quotes".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Ratio => "a number from 0 to 1".to_owned(),
            Self::Port => "a port, a number from 0 to 65535".to_owned(),
            Self::Duration => {
                "a duration such as \"1h\", \"90m\", \"1h30m\" or \"300ms\"".to_owned()
            }
            Self::List => "a list of texts".to_owned(),
            Self::Words => "a list of texts, or one text with commas between them".to_owned(),
            Self::Map => "an object whose members are all texts".to_owned(),
            Self::Section => "an object {…}".to_owned(),
            Self::Sections => "a list of objects [{…}]".to_owned(),
            Self::Obsolete(_) => "nothing any more".to_owned(),
        }
    }
}

/// `a, b or c`.
fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    }
}

/// The known name that a mistyped one most resembles, if one resembles it at all.
pub(crate) fn nearest<'a>(
    mistyped: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let mistyped = mistyped.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&mistyped, name), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_near() {
        let known = ["max_validity", "signing_seed", "port", "site"];
        assert_eq!(nearest("max_validty", known), Some("max_validity"));
        assert_eq!(nearest("max-validity", known), Some("max_validity"));
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("flavour", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn words_read_as_a_sentence() {
        assert_eq!(Kind::OneOf(&["a", "b", "c"]).wants(), "a, b or c");
        assert_eq!(Kind::OneOf(&["a"]).wants(), "a");
    }
}
