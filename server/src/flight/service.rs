//! The commands of Flight SQL, one method each.
//!
//! Owns: which command does what. Does not own: how (the modules beside).
//!
//! A query is described first, and its ticket is the statement itself; its rows come when the ticket is redeemed. A
//! statement that changes something is carried out when it is first asked for, and the answer says how much: whoever
//! has it has the acknowledgement.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, CommandStatementUpdate, DoPutPreparedStatementResult,
    ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData,
    FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage,
    SchemaAsIpc, Ticket,
};
use arrow_ipc::writer::IpcWriteOptions;
use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message as _;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use wattline_query::{Caller, Description};

use super::auth::Door;
use super::catalog;
use super::connection::Peer;
use super::handle::Handle;
use super::rows::{self, batches, change, table_of};
use super::running::{self, Running, status, wire_schema, wire_type};
use crate::audit::origin;
use crate::config::FlightSettings;
use crate::http::App;
use crate::http::sql::Counted;

/// Ends a statement, by what described it.
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";

/// The header in which clients show who they are.
const AUTHORIZATION: &str = "authorization";

type Answer<T> = Result<Response<T>, Status>;

// The streams by name, not as the associated types of `FlightService`: each mention of those makes the compiler prove
// anew that the whole server may be shared between threads, which took it minutes.
type Stream<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;
type Redeemed = Answer<Stream<FlightData>>;

/// Flight SQL over one server.
pub struct Service {
    app: Arc<App>,
    settings: FlightSettings,
    running: Arc<Running>,
    door: Door,
}

impl Service {
    /// The service of `app`.
    ///
    /// # Errors
    /// Where no key for tokens can be made.
    pub fn new(app: Arc<App>, settings: FlightSettings) -> crate::error::Result<Service> {
        let certified = settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let door = Door::new(app.registry.clone(), settings.token_lifetime, certified)?;
        Ok(Service { app, settings, running: Arc::default(), door })
    }

    fn not_stopping(&self) -> Result<(), Status> {
        match self.app.is_stopping() {
            true => Err(Status::unavailable("the server is stopping")),
            false => Ok(()),
        }
    }

    /// Who asks, where anything may be asked at all; takes what it needs of the request before it waits, as bodies of
    /// requests cannot be shared between threads.
    fn enter<T>(
        &self,
        request: &Request<T>,
    ) -> impl Future<Output = Result<Caller, Status>> + Send + use<'_, T> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let mut headers = MetadataMap::new();
        if let Some(shown) = request.metadata().get(AUTHORIZATION) {
            headers.insert(AUTHORIZATION, shown.clone());
        }
        async move {
            self.not_stopping()?;
            let caller = self.door.caller(&headers, peer).await;
            caller.inspect_err(|_| {
                self.app.audit.refused_login("", "flight", peer.map(|peer| origin(peer.ip())))
            })
        }
    }

    /// Runs `act` where statements run, on threads with room for deep ones. Ends with the call that waits for it.
    async fn on_query_threads<T: Send + 'static>(
        &self,
        act: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        let app = Arc::clone(&self.app);
        let task = self.app.queries.spawn(async move {
            let _counted = Counted::new(&app);
            act.await
        });
        let _guard = AbortOnDrop(task.abort_handle());
        task.await.map_err(|e| Status::internal(format!("the statement ended without an answer: {e}")))?
    }

    async fn describe(&self, caller: &Caller, sql: &str) -> Result<Description, Status> {
        let (app, caller, sql) = (Arc::clone(&self.app), caller.clone(), sql.to_owned());
        let describing = async move { app.engine.describe(&caller, &sql).await.map_err(|e| status(&e)) };
        self.on_query_threads(describing).await
    }

    async fn change(&self, caller: Caller, handle: Handle) -> Result<i64, Status> {
        let app = Arc::clone(&self.app);
        let bindings = handle.bindings()?;
        self.on_query_threads(async move { change(&app, &caller, &handle.sql, bindings).await }).await
    }

    /// What the rows of a statement look like and where they are; or what it changed.
    async fn info(&self, caller: Caller, handle: Handle, descriptor: FlightDescriptor) -> Answer<FlightInfo> {
        if wattline_query::is_change(&handle.sql) {
            let changed = self.change(caller, handle).await?;
            let info = info_of(&Schema::empty(), descriptor)?.with_total_records(changed);
            return Ok(Response::new(info));
        }
        let description = self.describe(&caller, &handle.sql).await?;
        let handle = Handle { id: self.running.number(), ..handle };
        let ticket = TicketStatementQuery { statement_handle: handle.to_bytes() };
        let ticket = Ticket { ticket: ticket.as_any().encode_to_vec().into() };
        let info = info_of(&wire_schema(&description.schema), descriptor)?;
        Ok(Response::new(info.with_endpoint(FlightEndpoint::new().with_ticket(ticket))))
    }

    /// Redeems a statement's ticket.
    fn redeem(&self, caller: Caller, handle: Handle) -> Redeemed {
        let mut bindings = handle.bindings()?;
        let parameters = match (bindings.pop(), bindings.is_empty()) {
            (Some(one), true) => one,
            (one, _) => {
                let rows = bindings.len() + usize::from(one.is_some());
                let what = format!("a query runs with one row of parameters; {rows} are bound");
                return Err(Status::invalid_argument(what));
            }
        };
        let rows = running::stream(&self.app, &self.running, caller, (handle.id, handle.sql, parameters));
        Ok(Response::new(rows))
    }

    fn listing(&self, caller: &Caller, command: Command) -> Result<RecordBatch, Status> {
        let name = command.type_url().to_owned();
        let answer = catalog::answer(&self.app.engine, caller, command);
        Ok(answer.ok_or_else(|| Status::unimplemented(name))??)
    }

    async fn listing_info<M: ProstMessageExt>(
        &self,
        query: M,
        command: impl Fn(M) -> Command,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let caller = self.enter(&request).await?;
        let ticket = Ticket { ticket: query.as_any().encode_to_vec().into() };
        let info = info_of(&self.listing(&caller, command(query))?.schema(), request.into_inner())?;
        Ok(Response::new(info.with_endpoint(FlightEndpoint::new().with_ticket(ticket))))
    }

    async fn listing_rows(&self, command: Command, request: Request<Ticket>) -> Redeemed {
        let caller = self.enter(&request).await?;
        Ok(Response::new(running::single(self.listing(&caller, command)?)))
    }

    /// The rows that come with a call.
    fn incoming(&self, request: Request<PeekableFlightDataStream>) -> rows::Incoming {
        batches(request.into_inner(), self.settings.read_timeout)
    }

    /// Ends the statement that `info` describes.
    fn cancel(&self, info: &FlightInfo) -> bool {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let mut cancelled = false;
        for ticket in tickets {
            let statement = Any::decode(&*ticket.ticket).ok().and_then(|any| any.unpack().ok().flatten());
            let handle = statement.and_then(|s: TicketStatementQuery| Handle::read(&s.statement_handle).ok());
            cancelled |= handle.is_some_and(|handle| self.running.cancel(handle.id));
        }
        cancelled
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn info_of(schema: &Schema, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let info = FlightInfo::new().try_with_schema(schema).map_err(no_form)?;
    Ok(info.with_descriptor(descriptor))
}

fn no_form(error: arrow::error::ArrowError) -> Status {
    Status::internal(format!("schema: {error}"))
}

fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message: IpcMessage = SchemaAsIpc::new(schema, &options).try_into().map_err(no_form)?;
    Ok(message.0)
}

/// The parameters of a statement as columns; one of any type is asked for as a text.
fn parameter_schema(description: &Description) -> Schema {
    let field = |(i, data_type): (usize, &Option<DataType>)| {
        let data_type = data_type.as_ref().map_or(DataType::Utf8, wire_type);
        Field::new(format!("${}", i + 1), data_type, true)
    };
    Schema::new(description.parameters.iter().enumerate().map(field).collect::<Vec<_>>())
}

fn no_transaction(id: Option<&Bytes>) -> Result<(), Status> {
    match id {
        Some(_) => {
            Err(Status::invalid_argument("there are no transactions: each statement stands for itself"))
        }
        None => Ok(()),
    }
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Service;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Answer<Stream<HandshakeResponse>> {
        self.not_stopping()?;
        let (headers, extensions, _) = request.into_parts();
        let origin = extensions.get::<Peer>().map(|peer| origin(peer.0.ip()));
        let token = self.door.token(&headers).await;
        let token = token.inspect_err(|_| self.app.audit.refused_login("", "flight", origin))?;
        let shown = format!("Bearer {token}").parse();
        let shown = shown.map_err(|e| Status::internal(format!("a token is no header: {e}")))?;
        // In the headers, as drivers look for it, and as the answer, as others do.
        let answer = HandshakeResponse { protocol_version: 0, payload: token.into() };
        let answers: Stream<HandshakeResponse> = Box::pin(futures::stream::iter([Ok(answer)]));
        let mut response = Response::new(answers);
        response.metadata_mut().insert(AUTHORIZATION, shown);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let caller = self.enter(&request).await?;
        no_transaction(query.transaction_id.as_ref())?;
        self.info(caller, Handle::new(&query.query), request.into_inner()).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let caller = self.enter(&request).await?;
        self.info(caller, Handle::read(&query.prepared_statement_handle)?, request.into_inner()).await
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Redeemed {
        let caller = self.enter(&request).await?;
        self.redeem(caller, Handle::read(&ticket.statement_handle)?)
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Redeemed {
        let caller = self.enter(&request).await?;
        self.redeem(caller, Handle::read(&query.prepared_statement_handle)?)
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let caller = self.enter(&request).await?;
        no_transaction(command.transaction_id.as_ref())?;
        self.change(caller, Handle::new(&command.query)).await
    }

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let caller = self.enter(&request).await?;
        let table = table_of(&self.app, &command)?;
        let (app, rows) = (Arc::clone(&self.app), self.incoming(request));
        self.on_query_threads(async move { rows::write(&app, &caller, &table, rows).await }).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        self.enter(&request).await?;
        let handle = Handle::read(&query.prepared_statement_handle)?;
        let mut rows = self.incoming(request);
        let mut bound = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|e| status(&e))?;
            bytes += batch.get_array_memory_size();
            if bytes > self.settings.batch_bytes_max {
                return Err(Status::invalid_argument("parameters take more than flight.batch_max"));
            }
            bound.push(batch);
        }
        let handle = handle.bind(&bound)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle.to_bytes()) })
    }

    async fn do_put_prepared_statement_update(
        &self,
        command: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let caller = self.enter(&request).await?;
        let handle = Handle::read(&command.prepared_statement_handle)?;
        let (app, rows) = (Arc::clone(&self.app), self.incoming(request));
        self.on_query_threads(async move { rows::run_bound(&app, &caller, &handle, rows).await }).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let caller = self.enter(&request).await?;
        no_transaction(query.transaction_id.as_ref())?;
        let handle = Handle::new(&query.query);
        let description = self.describe(&caller, &handle.sql).await?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.to_bytes(),
            dataset_schema: schema_bytes(&wire_schema(&description.schema))?,
            parameter_schema: schema_bytes(&parameter_schema(&description))?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        _: ActionClosePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        // The client holds all there is of it.
        Ok(())
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        use arrow_flight::sql::ActionCancelQueryResult as Answer;
        self.enter(&request).await?;
        let info = FlightInfo::decode(query.info).map_err(|e| Status::invalid_argument(e.to_string()))?;
        // 1: cancelled; 3: not to be cancelled, as it has ended or not begun.
        Ok(Answer { result: if self.cancel(&info) { 1 } else { 3 } })
    }

    async fn do_action_fallback(&self, request: Request<Action>) -> Answer<Stream<arrow_flight::Result>> {
        self.enter(&request).await?;
        let action = request.into_inner();
        if action.r#type != CANCEL_FLIGHT_INFO {
            return Err(Status::unimplemented(format!("there is no action {:?}", action.r#type)));
        }
        let asked = CancelFlightInfoRequest::decode(action.body)
            .map_err(|e| Status::invalid_argument(format!("{CANCEL_FLIGHT_INFO}: {e}")))?;
        let cancelled = asked.info.is_some_and(|info| self.cancel(&info));
        let state = if cancelled { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
        let result = CancelFlightInfoResult { status: state.into() };
        let body = result.encode_to_vec().into();
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(arrow_flight::Result { body })]))))
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        let description = "Ends the statement that a FlightInfo describes.".to_owned();
        Some(vec![Ok(ActionType { r#type: CANCEL_FLIGHT_INFO.to_owned(), description })])
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetCatalogs, request).await
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, request: Request<Ticket>) -> Redeemed {
        self.listing_rows(Command::CommandGetCatalogs(query), request).await
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetDbSchemas, request).await
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Redeemed {
        self.listing_rows(Command::CommandGetDbSchemas(query), request).await
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetTables, request).await
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Redeemed {
        self.listing_rows(Command::CommandGetTables(query), request).await
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetTableTypes, request).await
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, request: Request<Ticket>) -> Redeemed {
        self.listing_rows(Command::CommandGetTableTypes(query), request).await
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetSqlInfo, request).await
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, request: Request<Ticket>) -> Redeemed {
        self.listing_rows(Command::CommandGetSqlInfo(query), request).await
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetPrimaryKeys, request).await
    }

    async fn do_get_primary_keys(&self, query: CommandGetPrimaryKeys, request: Request<Ticket>) -> Redeemed {
        self.listing_rows(Command::CommandGetPrimaryKeys(query), request).await
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetExportedKeys, request).await
    }

    async fn do_get_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<Ticket>,
    ) -> Redeemed {
        self.listing_rows(Command::CommandGetExportedKeys(query), request).await
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetImportedKeys, request).await
    }

    async fn do_get_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<Ticket>,
    ) -> Redeemed {
        self.listing_rows(Command::CommandGetImportedKeys(query), request).await
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetCrossReference, request).await
    }

    async fn do_get_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> Redeemed {
        self.listing_rows(Command::CommandGetCrossReference(query), request).await
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.listing_info(query, Command::CommandGetXdbcTypeInfo, request).await
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<Ticket>,
    ) -> Redeemed {
        self.listing_rows(Command::CommandGetXdbcTypeInfo(query), request).await
    }
}
