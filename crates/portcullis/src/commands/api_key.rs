//! `portcullis api-key`: a new key, shown once.
//!
//! INVARIANT: the key is printed and kept nowhere; the entry that is kept holds its keyed hash alone (SS028-11.2.10c).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_core::Name;
use portcullis_snapshot::keys::server_key;
use portcullis_token::ApiKeys;

use super::Outcome;
use super::import::name;
use super::loaded::Loaded;
use crate::roles::hex;
use crate::screen::Screen;

/// Make API keys.
#[derive(Args)]
pub(crate) struct ApiKey {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// Draw a key, print it once, and print the entry for the file of API keys.
    New {
        /// What records name the key by.
        #[arg(long, value_parser = name)]
        id: Name,
        /// Who answers for it.
        #[arg(long)]
        owner: String,
        /// The configuration, whose `api_keys.hash_key` the hash is made with.
        #[arg(short, long, default_value = "portcullis.yaml", value_name = "FILE")]
        config: PathBuf,
    },
}

/// The configuration has no API keys.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has no `api_keys`; write `hash_key` and `files` there first")]
struct NoApiKeys;

impl ApiKey {
    /// Prints key and entry.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        let Word::New { id, owner, config } = self.word;
        let loaded = Loaded::read(&config)?;
        let api_keys = loaded.plan.api_keys.as_ref().ok_or(NoApiKeys)?;
        let drawn = draw(&id, api_keys.hash_key.expose())?;
        screen.line(format!(
            "The key, shown once; give it to its owner and keep no copy:\n\n{}\n",
            drawn.0.expose()
        ));
        screen.line("The entry for your file of API keys; fill in what is marked:\n");
        screen.line(entry(&id, &drawn.1, &owner));
        Ok(ExitCode::SUCCESS)
    }
}

/// A new key and the digits of its hash.
pub(crate) fn draw(
    id: &Name,
    secret: &[u8],
) -> std::io::Result<(portcullis_core::Sensitive<String>, String)> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| std::io::Error::other("the system gives no randomness"))?;
    let (key, hash) = ApiKeys::generate(id, &random, &server_key(secret));
    Ok((key, hex(hash.as_bytes())))
}

fn entry(id: &Name, hash: &str, owner: &str) -> String {
    // JSON's spelling of a text is one of YAML's, whatever is in it.
    let owner = serde_json::Value::from(owner);
    format!(
        "  - id: {id}\n    hash: {hash}\n    owner: {owner}\n    sources: [\"?\"] # networks, or `applications`\n    \
         apis: [\"?\"] # services that it opens\n    scopes: []\n    assurance: low\n    expires: \"?\" # a day such as 2027-03-31"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_cannot_write_keys_into_the_entry() {
        let id = Name::parse("courier").expect("a name");
        let text = entry(&id, "00", "x\n    apis: [\"payments\"]\n#");
        assert_eq!(text.lines().filter(|line| line.trim_start().starts_with("apis:")).count(), 1, "{text}");
    }

    #[test]
    fn c13_a_key_is_drawn_anew_and_its_hash_is_not_the_key() {
        let id = Name::parse("courier").expect("a name");
        let (one, other) = (draw(&id, &[7; 32]).expect("drawn"), draw(&id, &[7; 32]).expect("drawn"));
        assert_ne!(one.0.expose(), other.0.expose());
        assert!(one.1.len() == 64 && !one.0.expose().contains(&one.1));
    }
}
