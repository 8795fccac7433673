//! What one event changed of its row.

use clerk_sync::store::RowChange;

use super::*;

/// The event before, and the columns with their values before and after.
async fn changed(store: &Store, id: &str) -> Option<(Option<String>, Vec<[String; 3]>)> {
    let event = store.event(&EventId::new(id).unwrap()).await.unwrap();
    match store.row_change(&event.unwrap()).await.unwrap() {
        RowChange::Known {
            before,
            differences,
        } => {
            let text = |side: Option<clerk_sync::clerk::Excerpt>| {
                side.map_or("none".into(), |side| side.text)
            };
            let columns = differences
                .into_iter()
                .map(|one| [one.name, text(one.before), text(one.after)]);
            Some((before, columns.collect()))
        }
        RowChange::NoPayload | RowChange::NotComparable => None,
    }
}

fn columns<const N: usize>(
    before: Option<&str>,
    columns: [[&str; 3]; N],
) -> Option<(Option<String>, Vec<[String; 3]>)> {
    let columns = columns.map(|column| column.map(str::to_owned));
    Some((before.map(str::to_owned), columns.into()))
}

pub(super) async fn an_applied_event_is_compared_with_the_version_before(place: Place) {
    place.migrated().await;
    let store = place.store(Keep {
        payloads: Payloads::All,
        ..Keep::default()
    });
    // Received in the order of their numbers, whatever the order of their versions.
    let at = |n: i64| Timestamp::from_ms(EPOCH_MS + n).unwrap();
    let version = |n: i64, event_type: &str, fields: Value| {
        let mut data = json!({"id": "user_1", "updated_at": EPOCH_MS + n});
        data.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let body = json!({"data": data, "type": event_type});
        received(&event(&format!("msg_{n}"), body.to_string()), at(n))
    };
    let address = |address: &str| {
        json!({"first_name": "Ada", "primary_email_address_id": "e", "email_addresses": email(address),
            "public_metadata": {"team": {"name": address, "seats": 1}}})
    };
    let created = version(10, "user.created", json!({"first_name": "Eve"}));
    apply(&store, &[created]).await;
    // One that comes late changes nothing, and one of another user does not count.
    apply(
        &store,
        &[version(30, "user.updated", address("a@example.com"))],
    )
    .await;
    let late = version(20, "user.updated", json!({"first_name": "Ada"}));
    apply(&store, &[late, update("msg_other", "user_2", 35)]).await;
    apply(
        &store,
        &[version(40, "user.updated", address("b@example.com"))],
    )
    .await;
    assert_eq!(
        changed(&store, "msg_10").await,
        columns(
            None,
            [
                ["first_name", "none", "\"Eve\""],
                ["id", "none", "\"user_1\""]
            ]
        )
    );
    let pair = [
        r#"[{"email_address":"a@example.com","id":"e"}]"#,
        r#"[{"email_address":"b@example.com","id":"e"}]"#,
    ];
    assert_eq!(
        changed(&store, "msg_40").await,
        columns(
            Some("msg_30"),
            [
                ["email", r#""a@example.com""#, r#""b@example.com""#],
                ["email_addresses", pair[0], pair[1]],
                [
                    "public_metadata.team.name",
                    r#""a@example.com""#,
                    r#""b@example.com""#
                ],
            ]
        )
    );
    // A delete sets one column, and an earlier one sets it again.
    let deleted = |n: i64| received(&delete(&format!("msg_{n}"), "user_1", n), at(n));
    apply(&store, &[deleted(60)]).await;
    apply(&store, &[deleted(50)]).await;
    let ms = |n: i64| (EPOCH_MS + n).to_string();
    assert_eq!(
        changed(&store, "msg_60").await,
        columns(None, [["deleted_at", "none", &ms(60)]])
    );
    assert_eq!(
        changed(&store, "msg_50").await,
        columns(Some("msg_60"), [["deleted_at", &ms(60), &ms(50)]])
    );

    // A payload that is not kept leaves its event and the next one without.
    let failed_alone = place.store(Keep::default());
    apply(
        &failed_alone,
        &[version(70, "user.updated", json!({"username": "x"}))],
    )
    .await;
    apply(
        &store,
        &[version(80, "user.updated", json!({"username": "y"}))],
    )
    .await;
    apply(
        &store,
        &[version(90, "user.updated", json!({"username": "y"}))],
    )
    .await;
    assert_eq!(changed(&store, "msg_70").await, None);
    assert_eq!(changed(&store, "msg_80").await, None);
    assert_eq!(changed(&store, "msg_90").await, columns(Some("msg_80"), []));
}
