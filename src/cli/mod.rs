//! The command line: what a person or a script asks of mayfly, beside serving.
//!
//! `mayfly mailbox ...` is a client of any mayfly, over the same API as everybody's. Data goes to stdout, messages go to
//! stderr. Secrets come from files and from the environment, never from the arguments, which every user of a machine can
//! read. What strangers sent is made harmless before a terminal sees it ([`harmless`]).

mod arguments;
mod doctor;
mod failure;
mod harmless;
mod http;
mod mailbox;
mod output;
mod pages;
mod secret;
mod sse;
mod state;
mod status;
mod top;
mod work;

pub use arguments::{Arguments, Command, ConfigCommand, KeyCommand, ServeArguments};
pub use doctor::DoctorArguments;
pub use doctor::run as doctor;
pub use failure::{Exit, Failure};
pub use mailbox::MailboxArguments;
pub use mailbox::run as mailbox;
pub use output::print_data;
pub use pages::{CompletionsArguments, ManArguments, completions, man};
pub use status::StatusArguments;
pub use status::run as status;
pub use top::TopArguments;
pub use top::run as top;
