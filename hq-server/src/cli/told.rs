//! What a command says when it has done something: a sentence, and what to do next. Programs get
//! the answer itself.

use serde_json::Value;

use super::arguments::{
    AccountCommand, CategoryCommand, Command, CompanyCommand, CostingCommand, InvoiceCommand,
    ItemCommand, MappingCommand, PartnerCommand, PaymentCommand, PolicyCommand, RateCommand,
    ReasonCommand, SiteCommand,
};

/// What a command does, in words; `None` for those that show something.
pub(super) enum Deed {
    /// A thing or a document was recorded.
    Recorded(String),
    /// Rows of a file were recorded.
    Imported(&'static str),
    /// A one-time code was given.
    Code(String),
    /// Whose data, and who carries it or no longer does.
    Carriers(String),
    /// Installations were barred.
    Revoked(String),
    /// A backup was made.
    BackedUp,
}

impl Deed {
    /// What the command is about to do.
    pub(super) fn of(command: &Command) -> Option<Self> {
        Some(match command {
            Command::Item(ItemCommand::Add(item)) => {
                Self::Recorded(format!("item '{}' added", item.code()))
            }
            Command::Item(ItemCommand::Change(item)) => {
                Self::Recorded(format!("item '{}' changed", item.code()))
            }
            Command::Item(ItemCommand::Unit { item, unit, .. }) => {
                Self::Recorded(format!("unit '{unit}' of item '{item}' added"))
            }
            Command::Item(ItemCommand::SetMeasure { item, .. }) => {
                Self::Recorded(format!("weight and volume of item '{item}' set"))
            }
            Command::Item(ItemCommand::Import { .. }) => Self::Imported("items"),
            Command::Company(CompanyCommand::Add(company)) => {
                Self::Recorded(format!("company '{}' added", company.code))
            }
            Command::Partner(PartnerCommand::Import { .. }) => Self::Imported("partners"),
            Command::Partner(PartnerCommand::Add { code, .. }) => {
                Self::Recorded(format!("partner '{code}' added"))
            }
            Command::Category(CategoryCommand::Add { code, .. }) => {
                Self::Recorded(format!("category '{code}' added"))
            }
            Command::Reason(ReasonCommand::Add { code, .. }) => {
                Self::Recorded(format!("reason '{code}' added"))
            }
            Command::Account(AccountCommand::Add { code, .. }) => {
                Self::Recorded(format!("account '{code}' added"))
            }
            Command::Mapping(MappingCommand::Add(_)) => Self::Recorded("rule added".to_owned()),
            Command::Policy(PolicyCommand::Set { policy, setting, from, .. }) => {
                let from = from.as_ref().map_or_else(|| "now".to_owned(), Clone::clone);
                Self::Recorded(format!("policy '{policy}' is {setting} from {from} on"))
            }
            Command::Rate(RateCommand::Set { currency, rate, from, .. }) => {
                Self::Recorded(format!("rate of {currency} is {rate} from {from} on"))
            }
            Command::Rate(RateCommand::Import { .. }) => Self::Imported("rates"),
            Command::Costing(CostingCommand::Set { method, .. }) => {
                Self::Recorded(format!("costing method '{method}' set"))
            }
            Command::Invoice(InvoiceCommand::Supplier(_)) => {
                Self::Recorded("supplier invoice recorded".to_owned())
            }
            Command::Invoice(InvoiceCommand::Customer(_)) => {
                Self::Recorded("customer invoice recorded".to_owned())
            }
            Command::Invoice(InvoiceCommand::Credit(_)) => {
                Self::Recorded("credit note recorded".to_owned())
            }
            Command::LandedCost(_) => Self::Recorded("landed cost recorded".to_owned()),
            Command::Revalue(draft) => {
                Self::Recorded(format!("item '{}' revalued", draft.pool.item()))
            }
            Command::StandardCost(draft) => {
                Self::Recorded(format!("new standard cost of item '{}'", draft.pool.item()))
            }
            Command::WriteDown(draft) => {
                Self::Recorded(format!("write-down of item '{}' recorded", draft.pool.item()))
            }
            Command::Payment(PaymentCommand::In(_) | PaymentCommand::Out(_)) => {
                Self::Recorded("payment recorded".to_owned())
            }
            Command::Payment(PaymentCommand::Discount { .. }) => {
                Self::Recorded("discount recorded".to_owned())
            }
            Command::Payment(PaymentCommand::Allocate { .. }) => {
                Self::Recorded("allocation recorded".to_owned())
            }
            Command::Void { capture, .. } => {
                Self::Recorded(format!("{capture} is void: as if it had never happened"))
            }
            Command::SameAs { dropped, kept } => {
                Self::Recorded(format!("{dropped} is {kept} told twice: it has no effect any more"))
            }
            Command::Retime { site, from, to, at, .. } => {
                let which = match to.filter(|to| to != from) {
                    Some(to) => format!("facts {from} to {to}"),
                    None => format!("fact {from}"),
                };
                Self::Recorded(format!("{which} of site '{site}' happened at {at}"))
            }
            Command::Rule { device } => {
                Self::Recorded(format!("branch {device} is not in doubt any more"))
            }
            Command::Period(command) => Self::Recorded(command.deed()?),
            Command::Site(SiteCommand::Add { name, .. } | SiteCommand::Code { name }) => {
                Self::Code(name.clone())
            }
            Command::Site(SiteCommand::Carry { name, .. }) => Self::Carriers(name.clone()),
            Command::Site(SiteCommand::Revoke { name }) => Self::Revoked(name.clone()),
            Command::Backup { .. } => Self::BackedUp,
            _ => return None,
        })
    }

    /// The sentence about its answer.
    pub(super) fn sentence(&self, answer: &Value) -> String {
        match self {
            Self::Recorded(what) => {
                let number = listed(&answer["numbers"]);
                let number = number.map_or_else(String::new, |number| format!(", number {number}"));
                let captures = spanned(&answer["captures"]).unwrap_or_default();
                let told = format!("{what}{number} (capture id {captures})");
                match listed(&answer["waits"]) {
                    None => told,
                    Some(why) => format!("{told}\nit waits: {why}"),
                }
            }
            Self::Imported(what) => format!("{} {what} added", answer["added"]),
            Self::Code(name) => {
                let code = answer["enrol"].as_str().unwrap_or_default();
                format!(
                    "one-time code of site '{name}', good for one box and seven days:\n\n  {code}\n\n\
                     next, at the warehouse:\n\n  edge-node init\n  edge-node enrol {code} --hq \
                     HOST:PORT\n  edge-node run"
                )
            }
            Self::Revoked(name) => match listed(answer) {
                None => format!("site '{name}' has no installation: nothing to revoke"),
                Some(devices) => format!(
                    "device {devices} of site '{name}' may not connect any more; what it recorded and \
                     did not send stays in its own log. Neighbours turn it away from HQ's next word on, over \
                     a link or in a bundle"
                ),
            },
            Self::Carriers(name) => match listed(answer) {
                None => format!("nobody carries the data of site '{name}' any more"),
                Some(codes) => format!(
                    "{codes} may carry the data of site '{name}'; both sides learn it with their next \
                     link. Next, at '{name}': name the other under [neighbours] in node.toml, or let both \
                     look for each other ('discover')"
                ),
            },
            Self::BackedUp => {
                let to = answer["to"].as_str().unwrap_or_default();
                let (position, bytes) = (&answer["position"], &answer["bytes"]);
                format!("{to}: everything up to entry {position}, {bytes} bytes, read back")
            }
        }
    }
}

/// As [`listed`], but the first and the last of many: what HQ states together it numbers together.
fn spanned(values: &Value) -> Option<String> {
    match values.as_array()?.as_slice() {
        [first, _, _, _, .., last] => Some(format!(
            "{} to {}",
            first.as_str().unwrap_or_default(),
            last.as_str().unwrap_or_default()
        )),
        _ => listed(values),
    }
}

fn listed(values: &Value) -> Option<String> {
    let values = values.as_array().filter(|values| !values.is_empty())?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(values.iter().map(text).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_captures_are_told_as_the_first_and_the_last() {
        let told = |captures: Value| {
            let answer = serde_json::json!({ "numbers": [2], "captures": captures });
            Deed::Recorded("added".to_owned()).sentence(&answer)
        };
        let few = serde_json::json!(["1-7", "1-8", "1-9", "1-10"]);
        assert_eq!(told(few), "added, number 2 (capture id 1-7, 1-8, 1-9, 1-10)");
        let many = serde_json::json!(["1-7", "1-8", "1-9", "1-10", "1-11"]);
        assert_eq!(told(many), "added, number 2 (capture id 1-7 to 1-11)");
    }
}
