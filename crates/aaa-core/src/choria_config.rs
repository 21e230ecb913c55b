//! Choria's own configuration files: `key = value`, a line each, and `#` comments.

use std::collections::BTreeMap;

/// The settings of a Choria client or server, as its files have them. A later file wins over an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChoriaConfig(BTreeMap<String, String>);

impl ChoriaConfig {
    /// Reads a main file. Lines that are no setting are passed over, as Choria does.
    pub fn parse(text: &str) -> Self {
        let mut config = Self::default();
        config.read(text, "");
        config
    }

    /// Adds a file of `plugin.d`: the settings in `package.cfg` are those of `plugin.package.`
    pub fn add_plugin(&mut self, plugin: &str, text: &str) {
        self.read(text, &format!("plugin.{plugin}."));
    }

    fn read(&mut self, text: &str, prefix: &str) {
        for line in text.lines().map(str::trim) {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let (key, value) = (key.trim(), value.trim());
            if !key.is_empty() && !key.starts_with('#') && !value.is_empty() {
                self.0.insert(format!("{prefix}{key}"), value.to_owned());
            }
        }
    }

    /// A setting, if it is there.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The first of several settings that is there.
    pub fn first(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.get(key))
    }

    /// A list, with commas between its items.
    pub fn list(&self, key: &str) -> Vec<&str> {
        let items = self.get(key).unwrap_or_default().split(',');
        items
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect()
    }

    /// A switch, in any of the words that Choria takes for yes.
    pub fn switch(&self, key: &str) -> bool {
        let yes = ["1", "yes", "true", "y", "t"];
        self.get(key)
            .is_some_and(|value| yes.contains(&value.to_ascii_lowercase().as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_settings_and_passes_over_the_rest() {
        let config = ChoriaConfig::parse(
            "# a comment\r\n\n identity = dev1 \ncollectives=a, b ,,c\nno setting\nurl = https://x/?a=b\nempty =\n#x = y\non = TRUE\n",
        );
        assert_eq!(config.get("identity"), Some("dev1"));
        assert_eq!(config.list("collectives"), ["a", "b", "c"]);
        assert_eq!(config.get("url"), Some("https://x/?a=b"));
        assert_eq!(config.get("empty"), None);
        assert_eq!(config.get("#x"), None);
        assert!(config.switch("on"));
        assert!(!config.switch("identity") && !config.switch("absent"));
        assert_eq!(config.first(&["absent", "identity"]), Some("dev1"));
        assert!(config.list("absent").is_empty());
    }

    #[test]
    fn files_of_plugins_have_their_prefix() {
        let mut config = ChoriaConfig::parse("plugin.choria.x = main\n");
        config.add_plugin("choria", "x = plugin\nsecurity.provider = file\n");
        assert_eq!(config.get("plugin.choria.x"), Some("plugin"));
        assert_eq!(config.get("plugin.choria.security.provider"), Some("file"));
    }
}
