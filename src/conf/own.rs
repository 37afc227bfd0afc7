//! `s3_private_bucket_set_arg`, `s3_private_bucket_set_header`: what operators add to requests.

use std::rc::Rc;

use super::error::ConfError;
use super::given::{text, Given};
use crate::location::Own;
use crate::s3::own::{argument_fault, header_fault, header_value, is_argument_value};

/// A level's list of what is set, sorted by name; `None` where there is none.
type List = Option<Rc<Vec<Own>>>;

const CONTROL: &str = "its value has a control byte";

/// `s3_private_bucket_set_arg`
pub fn argument(to: &mut List, given: &Given) -> Result<(), ConfError> {
    let name = text(&given.args[0])?;
    if name.is_empty() {
        return Err(ConfError::Empty("write the name of a query argument"));
    }
    if let Some(why) = argument_fault(name) {
        return Err(ConfError::Name { name: name.to_owned(), why });
    }
    if !is_argument_value(given.args[1].as_bytes()) {
        return Err(ConfError::Name { name: name.to_owned(), why: CONTROL });
    }
    insert(to, name, given)
}

/// `s3_private_bucket_set_header`
pub fn header(to: &mut List, given: &Given) -> Result<(), ConfError> {
    // As it is signed.
    let name = &*text(&given.args[0])?.to_ascii_lowercase();
    if let Some(why) = header_fault(name) {
        return Err(ConfError::Name { name: name.to_owned(), why });
    }
    if header_value(given.args[1].as_bytes()).is_none() {
        return Err(ConfError::Name { name: name.to_owned(), why: CONTROL });
    }
    insert(to, name, given)
}

/// Compiles the second argument as the value of `name`.
fn insert(to: &mut List, name: &str, given: &Given) -> Result<(), ConfError> {
    let value = given.compile(given.args[1].as_bytes())?;
    let list = Rc::make_mut(to.get_or_insert_with(Rc::default));
    match list.binary_search_by(|own| (*own.name).cmp(name)) {
        Ok(_) => Err(ConfError::Name { name: name.to_owned(), why: "it is set already" }),
        Err(at) => {
            list.insert(at, Own { name: name.into(), value });
            Ok(())
        }
    }
}
