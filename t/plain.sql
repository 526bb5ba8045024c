-- The role that tests run as: the rights of the reference, and no others.
CREATE ROLE plain LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO plain;
GRANT CREATE ON SCHEMA public TO plain;
