//! One call of the crate for each word on standard input, one line of JSON for each answer on standard output.
//!
//! `create NAME`, `list`, `fetch ID`, `attachment ID INDEX`, `forget`. The address is the one that was created last.

use guerrillamail_client::{Client, Error};
use serde_json::{Value, json};
use std::io::{BufRead as _, Write as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let base = std::env::args().nth(1).expect("the address of the server");
    let client = Client::builder()
        .base_url(&base)
        .ajax_url(format!("{base}/ajax.php"))
        .build()
        .await?;
    let mut address = String::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match answer(&client, &mut address, &words).await {
            Ok(answer) => answer,
            Err(why) => json!({ "error": why.to_string() }),
        };
        println!("{answer}");
        std::io::stdout().flush().expect("somebody reads");
    }
    Ok(())
}

async fn answer(client: &Client, address: &mut String, words: &[&str]) -> Result<Value, Error> {
    Ok(match words {
        ["create", name] => {
            *address = client.create_email(name).await?;
            json!(address)
        }
        ["list"] => {
            let messages = client.get_messages(address).await?;
            let messages: Vec<Value> = messages
                .iter()
                .map(|it| json!([it.mail_id, it.mail_from, it.mail_subject, it.mail_excerpt]))
                .collect();
            json!(messages)
        }
        ["fetch", id] => {
            let mail = client.fetch_email(address, id).await?;
            let files = mail.attachments.iter();
            let files: Vec<Value> = files
                .map(|it| json!([it.filename, it.content_type_or_hint, it.part_id]))
                .collect();
            json!({
                "body": mail.mail_body,
                "files": files,
                "count": mail.attachment_count,
                "has_token": mail.sid_token.is_some(),
            })
        }
        ["attachment", id, index] => {
            let mail = client.fetch_email(address, id).await?;
            let index: usize = index.parse().expect("a number");
            let bytes = client
                .fetch_attachment(address, id, &mail.attachments[index])
                .await?;
            json!(String::from_utf8_lossy(&bytes))
        }
        ["forget"] => {
            client.delete_email(address).await?;
            json!(true)
        }
        _ => panic!("{words:?}"),
    })
}
