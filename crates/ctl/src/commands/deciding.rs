//! Who does something and why: the same flags wherever a person answers for a change.

use clap::Args;
use holdfast_client::Decision;

/// Who decides, and why.
#[derive(Debug, Args)]
pub(crate) struct Deciding {
    /// Why, in your words; kept for good.
    #[arg(long, value_name = "WORDS", value_parser = words)]
    pub(crate) reason: String,
    /// Who decides. Without it, the user's name.
    #[arg(long, env = "USER", hide_env_values = true, default_value = "operator")]
    pub(crate) actor: String,
}

impl Deciding {
    pub(crate) fn decision(self) -> Decision {
        Decision { actor: self.actor, reason: self.reason }
    }
}

fn words(text: &str) -> Result<String, String> {
    let words = text.trim();
    if words.is_empty() { Err("say why".to_owned()) } else { Ok(words.to_owned()) }
}
