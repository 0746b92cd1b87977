-- As on Supabase: `auth.users` is who can sign in, the tables in `public` are the platform's.

create schema auth;

create table auth.users (
  id uuid primary key default gen_random_uuid(),
  email text not null unique
);

create table profiles (
  id uuid primary key references auth.users on delete cascade,
  full_name text not null,
  time_zone text not null default 'UTC',
  locale text not null default 'en'
);

-- `revision` counts the changes of a row; `told` is the last one that session-reminders has confirmed.

create table sessions (
  id uuid primary key default gen_random_uuid(),
  title text not null,
  speaker text,
  starts_at timestamptz not null,
  time_zone text not null,
  join_url text,
  status text not null default 'scheduled' check (status in ('scheduled', 'cancelled')),
  revision integer not null default 1,
  told integer not null default 0
);

create table enrollments (
  session_id uuid references sessions on delete cascade,
  user_id uuid references profiles on delete cascade,
  status text not null default 'confirmed' check (status in ('confirmed', 'cancelled')),
  revision integer not null default 1,
  told integer not null default 0,
  primary key (session_id, user_id)
);

with people as (
  insert into auth.users (email)
  values ('ana@hospital.example'), ('kenji@clinic.example'), ('marie@practice.example')
  returning id, email
)
insert into profiles (id, full_name, time_zone, locale)
select id, full_name, time_zone, locale
  from people join (values
    ('ana@hospital.example', 'Ana Ruiz', 'Europe/Madrid', 'es-ES'),
    ('kenji@clinic.example', 'Kenji Sato', 'Asia/Tokyo', 'en-GB'),
    ('marie@practice.example', 'Marie Laurent', 'Europe/Paris', 'fr-FR')
  ) as known (email, full_name, time_zone, locale) using (email);

insert into sessions (title, speaker, starts_at, time_zone, join_url)
values
  ('Cardiology update', 'Dr. Okafor', date_trunc('minute', now()) + interval '33 minutes', 'Europe/Lisbon',
   'https://meet.example/cardiology'),
  ('Reading an ECG', 'Prof. Lindqvist', date_trunc('hour', now()) + interval '2 days', 'Europe/Stockholm',
   'https://meet.example/ecg'),
  ('Sepsis, the first hour', 'Dr. Haddad', date_trunc('hour', now()) + interval '9 days', 'America/New_York',
   'https://meet.example/sepsis');
