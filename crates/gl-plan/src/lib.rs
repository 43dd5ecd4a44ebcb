//! Spec and host facts to a Plan or a refusal.
