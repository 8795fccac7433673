//! Reads the body of a request, within limits of size, time and memory.

use std::time::Duration;

use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::http::limits::BodyBytes;
use crate::http::problem::{Code, Problem};

/// Longest time for the whole body. Svix gives up after 15 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the whole body, of at most `max` bytes. A body in more than one chunk is counted in
/// `held`.
///
/// # Errors
///
/// If it exceeds a limit of size, time or memory, or ends too early.
pub async fn read(
    mut payload: web::Payload,
    announced: Option<usize>,
    max: usize,
    held: &mut BodyBytes,
) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Code::BodyTooLarge,
            format!("a body may have {max} bytes (MAX_BODY_BYTES)"),
        )
    };
    let announced = announced.unwrap_or(0);
    if announced > max {
        return Err(too_large());
    }
    let read = async {
        let mut chunk = read_chunk(&mut payload).await?.unwrap_or_default();
        if chunk.len() == announced {
            // The usual case: the body came in one piece and is not copied.
            return Ok(chunk);
        }
        let mut body = Pieces::default();
        loop {
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            held.add(chunk.len())?;
            body.add(&chunk);
            match read_chunk(&mut payload).await? {
                Some(next) => chunk = next,
                None => return Ok(body.join()),
            }
        }
    };
    tokio::time::timeout(BODY_TIMEOUT, read)
        .await
        .unwrap_or_else(|_| {
            let seconds = BODY_TIMEOUT.as_secs();
            Err(Problem::new(
                Code::RequestTimeout,
                format!("the body did not come within {seconds} s"),
            ))
        })
}

async fn read_chunk(payload: &mut web::Payload) -> Result<Option<Bytes>, Problem> {
    let chunk = payload.next().await.transpose();
    chunk.map_err(|_| Problem::new(Code::InvalidRequest, "the body ended before it was whole"))
}

/// A body of many chunks. The chunks themselves are not kept: one byte of a chunk keeps the whole
/// buffer of its connection alive. A single growing buffer is not used either: while it moves, it
/// takes three times the size of the body.
#[derive(Default)]
struct Pieces {
    full: Vec<BytesMut>,
    last: BytesMut,
}

impl Pieces {
    /// Bytes in one piece.
    const SIZE: usize = 16 * 1024;

    fn len(&self) -> usize {
        self.full.len() * Self::SIZE + self.last.len()
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.last.len() == Self::SIZE || self.last.capacity() == 0 {
                let full = std::mem::replace(&mut self.last, BytesMut::with_capacity(Self::SIZE));
                self.full.extend((!full.is_empty()).then_some(full));
            }
            let (fits, rest) = bytes.split_at(bytes.len().min(Self::SIZE - self.last.len()));
            self.last.extend_from_slice(fits);
            bytes = rest;
        }
    }

    fn join(self) -> Bytes {
        if self.full.is_empty() {
            return self.last.freeze();
        }
        let mut body = BytesMut::with_capacity(self.len());
        for piece in self.full.iter().chain([&self.last]) {
            body.extend_from_slice(piece);
        }
        body.freeze()
    }
}
