//! The commands. They talk to the running server over its API; where none runs they open the store
//! and call the same API in memory. Knows no rule: what is printed and refused comes from there.

mod arguments;
mod bundle;
mod call;
mod error;
mod import;
mod print;
mod told;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::{Value, json};

use crate::address::encoded;
use crate::clock::Clock;
use crate::headquarters::{self, Config, Headquarters, InitOptions};
use crate::runtime::{self, RunOptions, Server, asked_to_end};
use arguments::{
    AccountCommand, Arguments, CategoryCommand, Command, CompanyCommand, CostingCommand,
    DocumentCommand, Init, InvoiceCommand, ItemCommand, MappingCommand, PartnerCommand,
    PaymentCommand, PolicyCommand, RateCommand, ReasonCommand, SiteCommand,
};
use call::Client;
use error::CliError;
use told::Deed;

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(matches!(arguments.command, Command::Run(_)));
    let json = arguments.json;
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            print::problem(&error, json);
            ExitCode::from(error.code())
        }
    }
}

/// The log goes to standard error; `WAREBOOK_LOG` chooses more or less of it.
fn start_log(server: bool) {
    let usual = if server { "info" } else { "error" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("WAREBOOK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

fn run(arguments: Arguments) -> Result<ExitCode, CliError> {
    let runtime = runtime::threads()?;
    let (directory, company, json) = (arguments.data, arguments.company, arguments.json);
    match arguments.command {
        Command::Init(options) => runtime.block_on(init(&directory, options, json))?,
        Command::Run(options) => {
            let options = RunOptions { api: options.api, link: options.link };
            runtime.block_on(serve(&directory, options, json))?;
        }
        Command::Restore { from } => restore(&from, &directory, json)?,
        command => {
            let client = Client::open(&directory, company, &runtime)?;
            let done = ask(&client, command, json);
            client.close();
            return done;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn init(directory: &Path, options: Init, json: bool) -> Result<(), CliError> {
    let Init { company, name, currency, utc_offset, cost_scope, chart, api, link } = options;
    let usual = Config::default();
    let config =
        Config { api: api.unwrap_or(usual.api), link: link.unwrap_or(usual.link), ..usual };
    let options = InitOptions {
        name: name.unwrap_or_else(|| company.clone()),
        code: company,
        currency,
        zone: utc_offset,
        scope: cost_scope.into(),
        chart,
        config,
    };
    let hq = Headquarters::init(directory, options, Clock::system()).await?;
    let accounts = hq.published().catalogue().accounts().count();
    hq.close().await;
    if json {
        print::json(&json!({ "directory": directory, "accounts": accounts }));
    } else {
        let place = directory.display();
        print::line(format_args!("HQ is ready in {place}: {accounts} accounts, mapping complete."));
        print::line("Next: 'hq-server run', then 'hq-server site add NAME'.");
    }
    Ok(())
}

async fn serve(directory: &Path, options: RunOptions, json: bool) -> Result<(), CliError> {
    // Whoever is told that it serves may ask it to end at once.
    let asked = asked_to_end()?;
    let server = Server::start(directory, options, Clock::system()).await?;
    let running = server.running();
    if json {
        print::json(&serde_json::to_value(running).expect("addresses are JSON"));
    } else {
        print::line(format_args!("Dashboard: {}/", running.base()));
        print::line(format_args!("Sites connect to UDP {}", running.link));
    }
    Ok(server.run(asked).await?)
}

fn restore(from: &Path, directory: &Path, json: bool) -> Result<(), CliError> {
    let manifest = headquarters::restore(from, directory, Clock::system().now())?;
    if json {
        print::json(&json!({ "directory": directory, "position": manifest.position }));
    } else {
        let (position, place) = (manifest.position, directory.display());
        print::line(format_args!("Restored up to entry {position} into {place}."));
        print::line("Sites send what the backup does not have once 'hq-server run' serves them.");
    }
    Ok(())
}

/// Commands that answer; the exit code says whether what they ask about holds.
fn ask(client: &Client<'_>, command: Command, json: bool) -> Result<ExitCode, CliError> {
    let deed = Deed::of(&command).filter(|_| !json);
    let (done, holds) = match command {
        Command::Mapping(MappingCommand::Check) => {
            let gaps = client.get("/api/mappings/check")?;
            let complete = gaps["complete"] == true;
            (gaps, complete)
        }
        Command::Verify => {
            let report = client.post("/api/verify", &Value::Null)?;
            let ok = report["ok"] == true;
            (report, ok)
        }
        Command::Backup { to } => {
            let to = std::path::absolute(&to)?;
            (client.post("/api/backup", &json!({ "to": to }))?, true)
        }
        Command::Bundle(command) => return bundle::run(client, &command, json),
        Command::Report(report) => {
            let path = report.path(client)?;
            print::report(&path, &client.get(&path)?, json);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Status => {
            print::status(&client.get("/api/status")?, json);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Site(command) => (site(client, command)?, true),
        Command::Document(command) => (document(client, command)?, true),
        Command::Invoice(InvoiceCommand::Supplier(invoice)) => {
            (client.post("/api/invoices/supplier", &invoice.body())?, true)
        }
        Command::Invoice(InvoiceCommand::Customer(invoice)) => {
            (client.post("/api/invoices/customer", &invoice.body())?, true)
        }
        Command::Invoice(InvoiceCommand::Credit(invoice)) => {
            (client.post("/api/invoices/supplier-credit", &invoice.body())?, true)
        }
        Command::LandedCost(bill) => (client.post("/api/landed-costs", &bill.body())?, true),
        Command::Revalue(draft) => (client.post("/api/revaluations", &draft.body())?, true),
        Command::StandardCost(draft) => (client.post("/api/standard-costs", &draft.body())?, true),
        Command::WriteDown(draft) => (client.post("/api/write-downs", &draft.body())?, true),
        Command::Payment(command) => (payment(client, command)?, true),
        Command::Void { capture, reason } => {
            let body = json!({ "of": capture, "reason": reason });
            (client.post("/api/voids", &body)?, true)
        }
        Command::SameAs { dropped, kept } => {
            let body = json!({ "dropped": dropped, "kept": kept });
            (client.post("/api/same-as", &body)?, true)
        }
        Command::Retime { site, from, to, at, device, reason } => {
            let body = json!({
                "site": site, "from": from, "to": to, "at": at, "device": device, "reason": reason,
            });
            (client.post("/api/retimes", &body)?, true)
        }
        Command::Rule { device } => {
            (client.post("/api/rulings", &json!({ "device": device }))?, true)
        }
        Command::Period(command) => match command.body() {
            Some(body) => (client.post("/api/periods", &body)?, true),
            None => (client.get("/api/periods")?, true),
        },
        command => (master(client, command)?, true),
    };
    match deed {
        Some(deed) => print::line(deed.sentence(&done)),
        None => print::answer(&done, json),
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn site(client: &Client<'_>, command: SiteCommand) -> Result<Value, CliError> {
    match command {
        SiteCommand::Add { name, title } => {
            let body = json!({ "code": name, "name": title, "company": client.company() });
            client.post("/api/sites", &body)
        }
        SiteCommand::List => client.get("/api/sites"),
        SiteCommand::Code { name } => {
            client.post(&format!("/api/sites/{}/code", encoded(&name)), &Value::Null)
        }
        SiteCommand::Carry { name, by, no_more } => {
            let body = json!({ "by": by, "allowed": !no_more });
            client.post(&format!("/api/sites/{}/carriers", encoded(&name)), &body)
        }
        SiteCommand::Handles { name, items } => {
            let body = json!({ "items": items });
            client.post(&format!("/api/sites/{}/items", encoded(&name)), &body)
        }
        SiteCommand::Revoke { name } => {
            client.post(&format!("/api/sites/{}/revoke", encoded(&name)), &Value::Null)
        }
    }
}

fn document(client: &Client<'_>, command: DocumentCommand) -> Result<Value, CliError> {
    let path = |id: &str| format!("/api/documents/{}", encoded(id));
    match command {
        DocumentCommand::List { site: None } => client.get("/api/documents"),
        DocumentCommand::List { site: Some(site) } => {
            client.get(&format!("/api/documents?site={}", encoded(&site)))
        }
        DocumentCommand::Show { id } => client.get(&path(&id)),
        DocumentCommand::Set { id, key, text } => {
            client.post(&path(&id), &json!({ "puts": { key: text } }))
        }
        DocumentCommand::Renew { id } => {
            client.post(&format!("{}/generation", path(&id)), &Value::Null)
        }
        DocumentCommand::Quarantine => client.get("/api/documents-refused"),
    }
}

fn payment(client: &Client<'_>, command: PaymentCommand) -> Result<Value, CliError> {
    match command {
        PaymentCommand::In(payment) => client.post("/api/payments", &payment.body("in")),
        PaymentCommand::Out(payment) => client.post("/api/payments", &payment.body("out")),
        PaymentCommand::Allocate { payment, of } => {
            let body = json!({ "of": of.of, "amount": of.amount });
            client.post(&format!("/api/payments/{}/allocations", encoded(&payment)), &body)
        }
        PaymentCommand::Discount { of, document, date } => {
            let body = json!({
                "of": of.of, "amount": of.amount, "document": document, "date": date
            });
            client.post("/api/discounts", &body)
        }
    }
}

fn master(client: &Client<'_>, command: Command) -> Result<Value, CliError> {
    match command {
        Command::Company(CompanyCommand::Add(company)) => {
            client.post("/api/companies", &company.body())
        }
        Command::Company(CompanyCommand::List) => client.get("/api/companies"),
        Command::Item(ItemCommand::Add(item)) => client.post("/api/items", &json!([item.body()])),
        Command::Item(ItemCommand::Change(item)) => client.put("/api/items", &json!([item.body()])),
        Command::Item(ItemCommand::List) => client.get("/api/items"),
        Command::Item(ItemCommand::Import { file }) => import::items(client, &file),
        Command::Item(ItemCommand::Unit { item, unit, factor }) => {
            let body = json!({
                "unit": unit, "numerator": factor.numerator, "denominator": factor.denominator
            });
            client.post(&format!("/api/items/{}/units", encoded(&item)), &body)
        }
        Command::Item(ItemCommand::SetMeasure { item, weight, volume, from }) => {
            let body = json!({ "weight": weight, "volume": volume, "from": from });
            client.post(&format!("/api/items/{}/measure", encoded(&item)), &body)
        }
        Command::Partner(PartnerCommand::Add { code, name, customer, supplier }) => {
            let body =
                json!([{ "code": code, "name": name, "customer": customer, "supplier": supplier }]);
            client.post("/api/partners", &body)
        }
        Command::Partner(PartnerCommand::List) => client.get("/api/partners"),
        Command::Partner(PartnerCommand::Import { file }) => import::partners(client, &file),
        Command::Category(CategoryCommand::Add { code, name }) => {
            client.post("/api/categories", &json!([{ "code": code, "name": name }]))
        }
        Command::Category(CategoryCommand::List) => client.get("/api/categories"),
        Command::Reason(ReasonCommand::Add { code, name, movement }) => {
            let body = json!([{ "code": code, "name": name, "movement": movement }]);
            client.post("/api/reasons", &body)
        }
        Command::Reason(ReasonCommand::List) => client.get("/api/reasons"),
        Command::Account(AccountCommand::Add { code, name, account_type }) => {
            let body = json!([{ "code": code, "name": name, "type": account_type }]);
            client.post("/api/accounts", &body)
        }
        Command::Account(AccountCommand::List) => client.get("/api/accounts"),
        Command::Mapping(MappingCommand::Add(rule)) => {
            client.post("/api/mappings", &json!([rule.body()]))
        }
        Command::Policy(PolicyCommand::Set { policy, setting, site, from }) => {
            let body = json!({ "policy": policy, "setting": setting, "site": site, "from": from });
            client.post("/api/policies", &body)
        }
        Command::Policy(PolicyCommand::List) => client.get("/api/policies"),
        Command::Rate(RateCommand::Set { currency, rate, from, until }) => {
            let body = json!([{
                "currency": currency, "rate": rate, "from": from, "until": until,
                "company": client.company()
            }]);
            client.post("/api/rates", &body)
        }
        Command::Rate(RateCommand::Import { file }) => import::rates(client, &file),
        Command::Rate(RateCommand::List) => client.get("/api/rates"),
        Command::Costing(CostingCommand::Set { method, category, from_the_beginning }) => {
            let body = json!({
                "method": method, "category": category, "from_the_beginning": from_the_beginning
            });
            client.post("/api/costing", &body)
        }
        _ => unreachable!("every other command is answered elsewhere"),
    }
}
