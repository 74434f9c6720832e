//! Channels: ways by which notifications go out.

use http::Method;
use tresor_api_types::{ChannelList, ChannelView, NewChannel};
use tresor_problem::Problem;

use crate::{Client, client::Call, encode::path};

impl Client {
    /// Channels, by name.
    ///
    /// # Errors
    /// Whatever keeps the service from answering.
    pub async fn channels(&self) -> Result<Vec<ChannelView>, Problem> {
        let list: ChannelList = self.read(Call::get(path(&["channels"]))).await?;
        Ok(list.items)
    }

    /// Makes a channel, or sets up the one of that name anew.
    ///
    /// # Errors
    /// `RequestMalformed`, and whatever keeps the service from answering.
    pub async fn set_channel(
        &self,
        name: &str,
        asked: &NewChannel,
    ) -> Result<ChannelView, Problem> {
        let call = Call::change(Method::PUT, path(&["channels", name]));
        self.read(call.body(asked)).await
    }

    /// Forgets a channel.
    ///
    /// # Errors
    /// `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn remove_channel(&self, name: &str) -> Result<(), Problem> {
        self.done(Call::change(Method::DELETE, path(&["channels", name])))
            .await
    }

    /// Sends a test by a channel.
    ///
    /// # Errors
    /// `NotificationFailed`, `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn test_channel(&self, name: &str) -> Result<(), Problem> {
        self.done(Call::change(
            Method::POST,
            path(&["channels", name, "test"]),
        ))
        .await
    }
}
