//! Publishes several messages on one channel and waits for the confirm of each.
//!
//! The only place that publishes what a queue keeps. Its caller is the only task that uses the
//! channel: with several, lapin 4 reports false acknowledgements.

use futures_util::FutureExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};

use super::connection::Session;

/// A message for an exchange.
pub struct Outgoing<'m> {
    pub routing_key: ShortString,
    pub body: &'m [u8],
    pub properties: BasicProperties,
}

/// Opens a channel with confirms.
pub async fn open_channel(session: &Session) -> Result<Channel, lapin::Error> {
    let channel = session.connection.create_channel().await?;
    let options = ConfirmSelectOptions { nowait: false };
    channel.confirm_select(options).await?;
    Ok(channel)
}

/// Publishes all messages in their order, then waits for all confirms. A `mandatory` message comes
/// back if no queue takes it. After an error nothing is known of any message.
pub async fn publish<'m>(
    channel: &Channel,
    exchange: &str,
    mandatory: bool,
    messages: impl Iterator<Item = Outgoing<'m>>,
) -> Result<Vec<Confirmation>, lapin::Error> {
    let options = BasicPublishOptions {
        mandatory,
        immediate: false,
    };
    let mut publishes = Vec::with_capacity(messages.size_hint().0);
    for message in messages {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place: its caller alone publishes on this channel"
        )]
        let publish = channel.basic_publish(
            exchange.into(),
            message.routing_key,
            options,
            message.body,
            message.properties,
        );
        let mut publish = Box::pin(publish);
        // A publish is done when its bytes are on the wire. Started one after the other and awaited
        // together, a whole batch leaves in few writes. lapin numbers a message and queues its
        // frames within the first poll, so nothing comes between the two.
        publishes.push(match publish.as_mut().now_or_never() {
            Some(published) => Publishing::Done(published?),
            None => Publishing::Started(publish),
        });
    }
    // Resolves with the confirm of the last, and nearly always all are in by then. Each publish
    // and each confirm, awaited alone, would wake this task.
    channel.wait_for_confirms().await?;
    let mut confirmations = Vec::with_capacity(publishes.len());
    for publish in publishes {
        let confirm = match publish {
            Publishing::Done(confirm) => confirm,
            Publishing::Started(publish) => publish.await?,
        };
        confirmations.push(confirm.await?);
    }
    Ok(confirmations)
}

/// A publish whose frames lapin has.
enum Publishing<F> {
    Started(F),
    Done(PublisherConfirm),
}
