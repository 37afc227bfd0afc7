//! What a location adds to its requests by `s3_private_bucket_set_arg`.

use std::rc::Rc;

use super::settings::Settings;
use crate::nginx::value::Value;
use crate::s3::object::sorted_arguments;

/// The values of all that is added.
pub fn own_values(settings: &Settings) -> impl Iterator<Item = &Value> {
    settings.set_args.iter().flat_map(|list| list.iter()).map(|own| &own.value)
}

/// The names of all query arguments that a location's requests may have, as they are signed, and which of them
/// have a value of the operator's own: the client's of that name does not count.
pub fn arguments(settings: &Settings) -> (Rc<[Box<[u8]>]>, Box<[(usize, Value)]>) {
    let passed = settings.pass_args.clone().unwrap_or_default();
    let Some(own) = &settings.set_args else { return (passed, Box::default()) };
    let names = own.iter().map(|own| own.name.as_bytes().into());
    let names = sorted_arguments(passed.iter().cloned().chain(names).collect());
    let place = |name: &str| names.iter().position(|known| **known == *name.as_bytes());
    let own = own.iter().filter_map(|own| Some((place(&own.name)?, own.value.clone())));
    let own = own.collect();
    (names.into(), own)
}
