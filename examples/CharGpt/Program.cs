using CharGpt;

return CommandLine.Run(args, static settings => settings.Model switch
{
    ModelFamily.Gpt => TrainingRun<StoryGpt>.Execute(settings),
    _ => TrainingRun<StoryLstm>.Execute(settings),
});
