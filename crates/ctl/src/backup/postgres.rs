//! Postgres's own programs, and an open conversation with one of its servers.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use url::Url;

use crate::failure::Failure;

/// Ends what psql prints for one question.
const END: &str = "-- holdctl: that is all --";

/// A database's address, its password apart: what is on a command line can be read by everybody on the machine.
pub(crate) struct Address {
    shown: String,
    password: Option<String>,
}

impl Address {
    /// # Errors
    /// [`Failure::Usage`]: it is no address of a Postgres database.
    pub(crate) fn parse(service: &str, text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("--{service}-database: {why}"));
        let mut url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") || url.path().trim_matches('/').is_empty() {
            return Err(wrong("must be like postgres://owner:password@host:port/database"));
        }
        let mut password = url.password().map(decoded);
        url.set_password(None).map_err(|()| wrong("must name a host"))?;
        let options = url.query().unwrap_or_default().split('&').filter(|option| !option.is_empty());
        let mut shown = Vec::new();
        for option in options {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match decoded(name).as_str() {
                // As libpq has it: an option wins over what stands before the host, and of several the last one wins.
                "password" => password = Some(decoded(value)),
                "sslpassword" => return Err(wrong("sslpassword could be read by everybody: use a key without one")),
                _ => shown.push(option),
            }
        }
        let shown = (!shown.is_empty()).then(|| shown.join("&"));
        url.set_query(shown.as_deref());
        Ok(Self { shown: url.into(), password })
    }
}

/// Undoes percent-encoding; what is no encoding stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let encoded = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match encoded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Where the programs are.
pub(crate) struct Programs {
    folder: Option<PathBuf>,
}

impl Programs {
    pub(crate) fn in_folder(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// A program that will talk to a database, and ends when nobody waits for it any more.
    fn command(&self, program: &str, address: Option<&Address>) -> Command {
        let path = self.folder.as_ref().map_or_else(|| PathBuf::from(program), |folder| folder.join(program));
        let mut command = Command::new(path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.env("LC_ALL", "C").env("PGAPPNAME", "holdctl");
        if let Some(Address { shown, password }) = address {
            command.arg("--no-password").arg(format!("--dbname={shown}"));
            if let Some(password) = password {
                command.env("PGPASSWORD", password);
            }
        }
        command
    }

    /// Runs a program to its end and gives what it printed.
    ///
    /// # Errors
    /// [`Failure::Refused`]: it cannot be run, or says why it failed.
    pub(crate) async fn run(
        &self,
        program: &str,
        address: Option<&Address>,
        arguments: &[String],
    ) -> Result<String, Failure> {
        let output = self.command(program, address).args(arguments).output().await;
        let output = output.map_err(|error| cannot_run(program, &error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failed(program, &String::from_utf8_lossy(&output.stderr)))
    }
}

fn cannot_run(program: &str, error: &std::io::Error) -> Failure {
    Failure::Refused(format!("cannot run {program} ({error}); --postgres-bin names the folder that has it"))
}

fn failed(program: &str, said: &str) -> Failure {
    Failure::Refused(format!("{program} failed: {}", said.trim()))
}

/// A psql that is asked one question after the other, in one connection.
pub(crate) struct Session {
    _psql: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    complaints: ChildStderr,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// [`Failure::Refused`]: psql cannot be run. Whether the server lets it in shows with the first question.
    pub(crate) fn open(programs: &Programs, address: &Address) -> Result<Self, Failure> {
        let mut command = programs.command("psql", Some(address));
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        let mut psql = command.stdin(Stdio::piped()).spawn().map_err(|error| cannot_run("psql", &error))?;
        let (questions, answers, complaints) = (psql.stdin.take(), psql.stdout.take(), psql.stderr.take());
        let piped = "it was asked for above";
        Ok(Self {
            questions: questions.expect(piped),
            answers: BufReader::new(answers.expect(piped)).lines(),
            complaints: complaints.expect(piped),
            _psql: psql,
        })
    }

    /// Asks and gives the lines of the answer, their fields parted by `|`.
    ///
    /// # Errors
    /// [`Failure::Refused`], in Postgres's words. After one, nothing can be asked any more.
    pub(crate) async fn ask(&mut self, question: &str) -> Result<Vec<String>, Failure> {
        let asked = format!("{question};\n\\echo '{END}'\n");
        let mut lines = Vec::new();
        // A psql that has ended does not listen; why, it has said.
        if self.questions.write_all(asked.as_bytes()).await.is_ok() {
            while let Ok(Some(line)) = self.answers.next_line().await {
                if line == END {
                    return Ok(lines);
                }
                lines.push(line);
            }
        }
        let mut said = String::new();
        let _what_there_is = self.complaints.read_to_string(&mut said).await;
        Err(failed("psql", &said))
    }

    /// Asks for one row and gives its fields.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), or there is no row.
    pub(crate) async fn row(&mut self, question: &str) -> Result<Vec<String>, Failure> {
        let rows = self.ask(question).await?;
        let row = rows.into_iter().next().ok_or_else(|| failed("psql", "there is no such row"))?;
        Ok(row.split('|').map(str::to_owned).collect())
    }

    /// Asks for one field of one row.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub(crate) async fn field(&mut self, question: &str) -> Result<String, Failure> {
        Ok(self.row(question).await?.swap_remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown_and_reads_as_it_was_meant() {
        let address =
            Address::parse("catalog", "postgres://me:p%40ss%25w%zz@db:5432/shop?sslmode=disable").expect("an address");
        assert_eq!(address.shown, "postgres://me@db:5432/shop?sslmode=disable");
        assert_eq!(address.password.as_deref(), Some("p@ss%w%zz"));
        assert!(Address::parse("catalog", "postgres://me@db/shop").expect("an address").password.is_none());
    }

    #[test]
    fn a_password_among_the_options_is_not_shown_either() {
        for (text, shown, password) in [
            ("postgres://me@db/shop?password=s%2Fec+ret", "postgres://me@db/shop", "s/ec+ret"),
            ("postgres://me:old@db/shop?a=1&password=new&b=%202", "postgres://me@db/shop?a=1&b=%202", "new"),
            (
                "postgres://me@db/shop?password=1&%70assword=2&sslmode=require",
                "postgres://me@db/shop?sslmode=require",
                "2",
            ),
        ] {
            let address = Address::parse("catalog", text).expect("an address");
            assert_eq!((address.shown.as_str(), address.password.as_deref()), (shown, Some(password)));
        }
        assert!(Address::parse("catalog", "postgres://me@db/shop?sslpassword=secret").is_err());
    }

    #[test]
    fn what_is_no_database_of_postgres_is_not_taken_for_one() {
        for text in ["", "shop", "http://db/shop", "postgres://db", "postgres://db/"] {
            assert!(Address::parse("catalog", text).is_err(), "{text}");
        }
    }
}
